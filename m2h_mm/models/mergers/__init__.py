from .ggfm import GGFM

__all__ = ['GGFM']
