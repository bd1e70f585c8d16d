"""Backbones: an image to feature maps.

May import what m2h_mm.models may.
"""

from .dinov2 import DINOv2
from .dinov3 import DINOv3
from .efficientnet_lite import EfficientNetLite
from .staged_backbone import StagedBackbone
from .units import backbone_units
from .vit import ViT

__all__ = ['DINOv2', 'DINOv3', 'EfficientNetLite', 'StagedBackbone', 'ViT', 'backbone_units']
