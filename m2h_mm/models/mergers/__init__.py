"""What a decoder does with an exchange's result: ``(fused, attended, features, tasks)`` to maps.

May import m2h_mm.models.layers, structures and registry.
"""

from .ggfm import GGFM

__all__ = ['GGFM']
