from .task import Depth

__all__ = ['Depth']
