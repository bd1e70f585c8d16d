"""From a backbone's maps to the pyramid that a decoder sees: ``Features`` to ``Features``.

May import m2h_mm.models.layers, structures and registry.
"""

from .lateral import Lateral
from .token_reassembly import TokenReassembly

__all__ = ['Lateral', 'TokenReassembly']
