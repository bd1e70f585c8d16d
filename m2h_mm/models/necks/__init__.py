from .token_reassembly import TokenReassembly

__all__ = ['TokenReassembly']
