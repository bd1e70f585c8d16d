"""Fast forms of plain modules, and ``optimize``, which puts them in their place.

One file for the fast forms of each module of m2h_mm.models; those of a method are in its folder,
``m2h_mm/methods/<method>/fast.py``. May import what m2h_mm.models may.
"""

from . import distillation, feed_forward, fusion, low_rank_experts, token_reassembly, wmca
from .checks import is_exactly, is_pointwise
from .rewrites import REWRITES, Rewrite, optimize, rewrites

__all__ = [
    'REWRITES',
    'Rewrite',
    'distillation',
    'feed_forward',
    'fusion',
    'is_exactly',
    'is_pointwise',
    'low_rank_experts',
    'optimize',
    'rewrites',
    'token_reassembly',
    'wmca',
]
