from .task import Semseg

__all__ = ['Semseg']
