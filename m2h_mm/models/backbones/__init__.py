"""Backbones: an image to feature maps.

May import what m2h_mm.models may.
"""

from .dinov2 import DINOv2
from .dinov3 import DINOv3
from .efficientnet_lite import EfficientNetLite
from .hf import HFBackbone
from .staged_backbone import StagedBackbone
from .timm import TimmBackbone
from .units import backbone_units
from .vit import ViT

__all__ = [
    'DINOv2',
    'DINOv3',
    'EfficientNetLite',
    'HFBackbone',
    'StagedBackbone',
    'TimmBackbone',
    'ViT',
    'backbone_units',
]
