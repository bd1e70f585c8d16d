"""How saliency looks."""

from __future__ import annotations

import numpy as np

from m2h_mm.registry import VIEWS
from m2h_mm.tasks.probability_view import ProbabilityView


@VIEWS.register_module('saliency')
class SaliencyView(ProbabilityView):
    """White where salient, black where not."""

    yes, no, scale = 'salient', 'not salient', 'probability of saliency'

    def colours(self, value: np.ndarray, limits: None) -> np.ndarray:
        grey = np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
