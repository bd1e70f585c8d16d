from .task import Disparity

__all__ = ['Disparity']
