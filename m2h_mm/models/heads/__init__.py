from .linear import LinearHead
from .m2h import M2HDepthHead, M2HEdgeHead, M2HNormalsHead, M2HSemsegHead
from .pad_net import PADNetHead

__all__ = ['LinearHead', 'M2HDepthHead', 'M2HEdgeHead', 'M2HNormalsHead', 'M2HSemsegHead', 'PADNetHead']
