from .task import Edge

__all__ = ['Edge']
