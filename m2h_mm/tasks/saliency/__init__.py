from .task import Saliency

__all__ = ['Saliency']
