"""M2H-MX (arXiv 2603.29236): pyramid, decoder with heads, losses and official checkpoints."""

from .decoder import M2HMXDecoder
from .heads import M2HMXDepthHead, M2HMXEdgeHead, M2HMXNormalsHead, M2HMXSemsegHead
from .losses import DepthBinsLoss
from .pyramid import M2HMXPyramid

__all__ = [
    'DepthBinsLoss',
    'M2HMXDecoder',
    'M2HMXDepthHead',
    'M2HMXEdgeHead',
    'M2HMXNormalsHead',
    'M2HMXPyramid',
    'M2HMXSemsegHead',
]
