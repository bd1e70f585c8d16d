"""InvPT (arXiv 2203.07997): decoder and official checkpoints."""

from .decoder import InvPTDecoder

__all__ = ['InvPTDecoder']
