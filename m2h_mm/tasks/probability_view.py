"""What the views of edges and saliency share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2h_mm.tasks.keys import KeyBlock, Scale, Tiles
from m2h_mm.tasks.shown import Shown
from m2h_mm.tasks.view import ErrorStyle, View


class ProbabilityView(View):
    """Probabilities in shades of grey, whose scale is always 0 to 1.

    Class attributes:
        yes, no: what 1 and 0 stand for.
        scale: what the numbers between them are.
    """

    yes: str
    no: str
    scale: str

    def limits(self, shown: Shown) -> None:
        return None

    def key(
        self, shown: Shown, classes: Sequence[str] = (), width: int = 256, text: int = 13
    ) -> list[KeyBlock]:
        """A scale, or two tiles where there is only truth, which is 0 or 1."""
        if shown.prediction is None:
            return [Tiles(((self.colour_of(1), self.yes), (self.colour_of(0), self.no)))]
        ramp = self.colours(np.linspace(0, 1, width - 2)[None], None)[0]
        return [Scale(ramp, ((0.0, '0'), (0.5, self.scale), (1.0, '1')))]

    @property
    def error_style(self) -> ErrorStyle:
        return ErrorStyle(lambda mean: f'|p − y| = {mean:.3f}', limit=1.0)
