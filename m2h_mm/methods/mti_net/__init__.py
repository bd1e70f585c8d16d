"""MTI-Net (arXiv 2001.06902): decoder and official checkpoints."""

from .decoder import MTINetDecoder

__all__ = ['MTINetDecoder']
