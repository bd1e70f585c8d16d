"""Metric depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.tasks.files import read_array, require_dims
from m2h_mm.tasks.positive import PositiveTask

MILLIMETRES = 1000.0


@TASKS.register_module('depth')
class Depth(PositiveTask):
    """Distance along the optical axis, in metres.

    Labels are metres, 0 where there is no measurement. Outputs and predictions are metres.

    Args:
        min_depth: smallest prediction, metres.
        max_depth: largest prediction, metres.
    """

    name = 'depth'
    gt_field = 'gt_depth_map'
    pred_field = 'pred_depth_map'
    folder = 'depth'
    metric = 'rmse'
    error_unit = 'm'
    meaning = 'metres along the optical axis'

    def __init__(self, min_depth: float = 1e-3, max_depth: float = 10.0) -> None:
        if not 0 < min_depth < max_depth:
            raise ValueError(
                'tasks.depth: expected 0 < min_depth < max_depth in metres, '
                f'got {min_depth} and {max_depth}.'
            )
        self.min_depth = min_depth
        self.max_depth = max_depth

    def read(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 metres: ``.npy`` and ``.mat`` hold metres, integer ``.png``
        millimetres.
        """
        stored = require_dims(read_array(path), 2, path, self.name)
        depth = stored.astype(np.float32)
        if np.issubdtype(stored.dtype, np.integer):
            depth /= MILLIMETRES
        depth[~((depth > 0) & (depth < np.inf))] = self.void
        return depth

    def zoom(self, label: np.ndarray, scale: float, size: tuple[int, int]) -> np.ndarray:
        return self.resize(label, size) / np.float32(scale)

    def decode(self, output: Tensor) -> Tensor:
        """Metres ``(N, 1, H, W)``, limited to the task's range."""
        return output.float().clamp(self.min_depth, self.max_depth)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """Millimetres, uint16; farther than 65.535 m is cut."""
        return np.rint(np.clip(prediction * MILLIMETRES, 0, np.iinfo(np.uint16).max)).astype(
            np.uint16
        )
