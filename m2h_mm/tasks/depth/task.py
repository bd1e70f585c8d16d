"""Metric depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.doubt import Doubt
from m2h_mm.tasks.files import read_array, require_dims
from m2h_mm.tasks.positive import PositiveTask

MILLIMETRES = np.float32(1000)
NEAREST = 0.1  # metres; a whole map nearer than this is in another unit


@TASKS.register_module('depth')
class Depth(PositiveTask):
    """Distance along the optical axis, in metres.

    Labels, outputs and predictions are metres; files hold 0 where nothing was measured.

    Args:
        min_depth: smallest prediction, metres.
        max_depth: largest prediction, metres.
    """

    metric = 'rmse'
    error_unit = 'm'
    meaning = 'metres along the optical axis'

    def __init__(self, min_depth: float = 1e-3, max_depth: float = 10.0) -> None:
        if not 0 < min_depth < max_depth:
            raise ValueError(
                f'tasks.depth: expected 0 < min_depth < max_depth in metres, got {min_depth} and '
                f'{max_depth}.'
            )
        self.min_depth = min_depth
        self.max_depth = max_depth

    def read(self, path: str | Path) -> Label:
        """``(H, W)`` float32 metres: ``.npy`` and ``.mat`` hold metres, integer ``.png``
        millimetres. What is not finite or not above 0 was not measured.
        """
        return self.positive(self._metres(path))

    def zoom(self, label: Label, scale: float, size: tuple[int, int]) -> Label:
        label = label.resize(size)
        return Label(label.value / np.float32(scale), label.valid)

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        depth = self._metres(path).astype(np.float64)
        measured = np.isfinite(depth) & (depth > 0)
        yield Doubt('NaN or infinity, which counts as not measured', ~np.isfinite(depth))
        yield Doubt('negative, which counts as not measured', depth < 0)
        yield Doubt(
            f'farther than max_depth = {self.max_depth:g} m, which is never predicted',
            measured & (depth > self.max_depth),
        )
        yield Doubt(
            f'nearer than {NEAREST} m everywhere: another unit?',
            measured & (depth[measured].max(initial=0) < NEAREST),
        )
        yield from super().inspect(path, label)

    def decode(self, output: Tensor) -> Tensor:
        """Metres ``(N, 1, H, W)``, limited to the task's range."""
        return output.float().clamp(self.min_depth, self.max_depth)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """Millimetres, uint16; farther than 65.535 m is cut."""
        return np.rint(np.clip(prediction * MILLIMETRES, 0, np.iinfo(np.uint16).max)).astype(
            np.uint16
        )

    def _metres(self, path: str | Path) -> np.ndarray:
        stored = require_dims(read_array(path), 2, path, self.name)
        metres = stored.astype(np.float32)
        return metres / MILLIMETRES if np.issubdtype(stored.dtype, np.integer) else metres
