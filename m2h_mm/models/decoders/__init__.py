from .m2h import M2HDecoder

__all__ = ['M2HDecoder']
