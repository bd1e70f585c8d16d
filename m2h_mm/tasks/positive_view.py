"""What the views of depth and disparity share."""

from __future__ import annotations

import numpy as np

from m2h_mm.tasks.shown import Map
from m2h_mm.tasks.view import View


class PositiveView(View):
    """Positive numbers on a colour scale; zero and below stand for no value."""

    number_format = '.2f'

    def holds_value(self, prediction: np.ndarray) -> np.ndarray:
        return super().holds_value(prediction) & (prediction > 0)

    def limits_of_video(self, first: Map) -> tuple[float, float]:
        """From 0 to the largest number of the first frame."""
        return 0.0, float(first.value.max())
