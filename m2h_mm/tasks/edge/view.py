"""How object boundaries look."""

from __future__ import annotations

import numpy as np

from m2h_mm.registry import VIEWS
from m2h_mm.tasks.probability_view import ProbabilityView


@VIEWS.register_module('edge')
class EdgeView(ProbabilityView):
    """Dark lines on white."""

    heading = 'Edges'
    yes, no, scale = 'edge', 'no edge', 'probability of an edge'

    def colours(self, value: np.ndarray, limits: None) -> np.ndarray:
        grey = (255 * (1 - np.clip(value, 0, 1))).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
