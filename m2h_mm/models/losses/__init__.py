"""Losses of single tasks and between tasks.

May import what m2h_mm.models may.
"""

from .balanced_bce import BalancedBCELoss, balanced_bce_loss
from .balanced_cross_entropy import BalancedCrossEntropyLoss, balanced_cross_entropy_loss
from .berhu import BerHuLoss, berhu_loss
from .consistency import ConsistencyLoss
from .cosine import CosineLoss, cosine_loss
from .cross_entropy import CrossEntropyLoss, cross_entropy_loss
from .depth_normal_consistency import DepthNormalConsistency, depth_normal_consistency
from .dice import DiceLoss, dice_loss
from .edge_semantic_consistency import (
    EdgeSemanticConsistency,
    edge_semantic_consistency,
    semantic_boundaries,
)
from .focal import FocalLoss, focal_loss
from .l1 import L1Loss, l1_loss
from .rmse import RMSELoss, rmse_loss
from .silog import SILogLoss, silog_loss
from .temporal_consistency import TemporalConsistency

__all__ = [
    'BalancedBCELoss',
    'BalancedCrossEntropyLoss',
    'BerHuLoss',
    'ConsistencyLoss',
    'CosineLoss',
    'CrossEntropyLoss',
    'DepthNormalConsistency',
    'DiceLoss',
    'EdgeSemanticConsistency',
    'FocalLoss',
    'L1Loss',
    'RMSELoss',
    'SILogLoss',
    'TemporalConsistency',
    'balanced_bce_loss',
    'balanced_cross_entropy_loss',
    'berhu_loss',
    'cosine_loss',
    'cross_entropy_loss',
    'depth_normal_consistency',
    'dice_loss',
    'edge_semantic_consistency',
    'focal_loss',
    'l1_loss',
    'rmse_loss',
    'semantic_boundaries',
    'silog_loss',
]
