from .m2h import M2HDepthHead, M2HEdgeHead, M2HNormalsHead, M2HSemsegHead

__all__ = ['M2HDepthHead', 'M2HEdgeHead', 'M2HNormalsHead', 'M2HSemsegHead']
