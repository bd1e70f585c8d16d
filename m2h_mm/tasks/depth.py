"""Metric depth."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor

from m2h_mm.registry import TASKS

from .base import Task
from .io import read_array, require_dims

MILLIMETRES = 1000.0


def draw_scale(map: np.ndarray, colormap: str, vmin: float | None, vmax: float | None) -> np.ndarray:
    """A map of positive values ``(H, W)`` as ``(H, W, 3)`` uint8, the colours from ``vmin`` to ``vmax`` or, where None,
    the map's own; grey where it is 0.
    """
    valid = map > 0
    if valid.any():
        vmin = float(map[valid].min()) if vmin is None else vmin
        vmax = float(map[valid].max()) if vmax is None else vmax
    else:
        vmin, vmax = 0.0, 1.0
    scaled = np.clip((map - vmin) / max(vmax - vmin, 1e-6), 0, 1)
    picture = matplotlib.colormaps[colormap](scaled, bytes=True)[..., :3].copy()
    picture[~valid] = 128
    return picture


@TASKS.register_module('depth')
class Depth(Task):
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
    colormap = 'magma_r'

    def __init__(self, min_depth: float = 1e-3, max_depth: float = 10.0) -> None:
        if not 0 < min_depth < max_depth:
            raise ValueError('tasks.depth: expected 0 < min_depth < max_depth in metres, '
                             f'got {min_depth} and {max_depth}.')
        self.min_depth = min_depth
        self.max_depth = max_depth

    def read(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 metres: ``.npy`` and ``.mat`` hold metres, integer ``.png`` millimetres."""
        stored = require_dims(read_array(path), 2, path, self.name)
        depth = stored.astype(np.float32)
        if np.issubdtype(stored.dtype, np.integer):
            depth /= MILLIMETRES
        depth[~((depth > 0) & (depth < np.inf))] = self.void
        return depth

    def zoom(self, label: np.ndarray, scale: float, size: tuple[int, int]) -> np.ndarray:
        return self.resize(label, size) / np.float32(scale)

    def valid(self, label: Tensor) -> Tensor:
        return (label > 0) & torch.isfinite(label)

    def decode(self, output: Tensor) -> Tensor:
        """Metres ``(N, 1, H, W)``, limited to the task's range."""
        return output.float().clamp(self.min_depth, self.max_depth)

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 metres, as :meth:`read`.

        Raises:
            ValueError: values that are not finite.
        """
        if not np.isfinite(read_array(path)).all():
            raise ValueError(f'File {path} of task {self.name!r}: expected metres, got NaN or infinity.')
        return self.read(path)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """Millimetres, uint16; farther than 65.535 m is cut."""
        return np.rint(np.clip(prediction * MILLIMETRES, 0, np.iinfo(np.uint16).max)).astype(np.uint16)

    def draw(self, map: np.ndarray, vmin: float | None = None, vmax: float | None = None) -> np.ndarray:
        """Near is bright, far is dark, unmeasured is grey; the range is the map's own unless given (metres)."""
        return draw_scale(map, self.colormap, vmin, vmax)
