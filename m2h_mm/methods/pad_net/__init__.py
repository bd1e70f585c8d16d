"""PAD-Net (arXiv 1805.04409): decoder and head."""

from .decoder import PADNetDecoder
from .head import PADNetHead

__all__ = ['PADNetDecoder', 'PADNetHead']
