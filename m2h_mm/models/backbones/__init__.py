"""Backbones: an image to feature maps.

May import what m2h_mm.models may.
"""

from .dinov2 import DINOv2
from .transformer_backbone import TransformerBackbone
from .units import backbone_units
from .vit import ViT

__all__ = ['DINOv2', 'TransformerBackbone', 'ViT', 'backbone_units']
