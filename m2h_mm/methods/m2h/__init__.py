"""M2H (arXiv 2510.17363): decoder, heads and official checkpoints."""

from . import fast
from .decoder import M2HDecoder
from .heads import M2HDepthHead, M2HEdgeHead, M2HNormalsHead, M2HSemsegHead

__all__ = [
    'M2HDecoder',
    'M2HDepthHead',
    'M2HEdgeHead',
    'M2HNormalsHead',
    'M2HSemsegHead',
    'fast',
]
