"""InvPT (arXiv 2203.07997): decoder and official checkpoints."""

from . import fast
from .decoder import InvPTDecoder

__all__ = ['InvPTDecoder', 'fast']
