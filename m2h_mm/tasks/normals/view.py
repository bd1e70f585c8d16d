"""How surface normals look."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2h_mm.registry import VIEWS
from m2h_mm.tasks.keys import Figure, KeyBlock, Tiles
from m2h_mm.tasks.shown import Shown
from m2h_mm.tasks.view import ErrorStyle, View

AXES = {
    (1, 0, 0): '+x: faces right',
    (0, 1, 0): '+y: faces up',
    (0, 0, 1): '+z: faces the camera',
}


@VIEWS.register_module('normals')
class NormalsView(View):
    """x, y and z in -1..1 as red, green and blue in 0..255."""

    heading = 'Surface normals'

    def colours(self, value: np.ndarray, limits: None) -> np.ndarray:
        return np.clip(np.rint((value + 1) * 127.5), 0, 255).astype(np.uint8)

    def holds_value(self, prediction: np.ndarray) -> np.ndarray:
        """Finite, and no zero vector, which has no direction."""
        return super().holds_value(prediction) & prediction.any(axis=2)

    def limits(self, shown: Shown) -> None:
        return None

    def key(
        self, shown: Shown, classes: Sequence[str] = (), width: int = 256, text: int = 13
    ) -> list[KeyBlock]:
        """A ball, whose surface has every normal that a camera can see, and the three axes."""
        radius = round(text * 2.2)
        y, x = np.mgrid[radius : -radius - 1 : -1, -radius : radius + 1] / radius
        inside = x * x + y * y <= 1
        ball = np.stack([x, y, np.sqrt(np.clip(1 - x * x - y * y, 0, None))], axis=2)
        picture = np.where(inside[..., None], self.colours(ball, None), np.uint8(255))
        tiles = Tiles(tuple((self.colour_of(axis), meaning) for axis, meaning in AXES.items()))
        return [Figure(picture, tiles)]

    @property
    def error_style(self) -> ErrorStyle:
        return ErrorStyle(lambda mean: f'{mean:.1f}°', limit=30.0, suffix='°')
