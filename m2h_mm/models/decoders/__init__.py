from .invpt import InvPTDecoder
from .m2h import M2HDecoder
from .mti_net import MTINetDecoder
from .pad_net import PADNetDecoder
from .shared import SharedDecoder

__all__ = ['InvPTDecoder', 'M2HDecoder', 'MTINetDecoder', 'PADNetDecoder', 'SharedDecoder']
