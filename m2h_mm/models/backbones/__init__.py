from .dinov2 import DINOv2
from .vit import ViT

__all__ = ['DINOv2', 'ViT']
