"""Object boundaries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.files import probability_to_png, read_array, read_probability, require_dims


@TASKS.register_module('edge')
class Edge(Task):
    """Probability that a pixel lies on an object boundary.

    Labels are 1 on a boundary, 0 elsewhere, 255 where void. Outputs are logits, predictions
    probabilities.
    """

    name = 'edge'
    gt_field = 'gt_edge_map'
    pred_field = 'pred_edge_map'
    folder = 'edge'
    void = 255
    meaning = 'probability of an edge'
    prediction_suffix = '.png'
    metric = 'odsF'
    higher_is_better = True

    def read(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` uint8, 0 or 1: ``.npy`` holds 0 and 1, 8-bit ``.png`` holds 0 and 255."""
        stored = require_dims(read_array(path), 2, path, self.name)
        largest = 255 if stored.dtype == np.uint8 and Path(path).suffix == '.png' else 1
        return (stored > largest / 2).astype(np.uint8)

    def valid(self, label: Tensor) -> Tensor:
        return label != self.void

    def decode(self, output: Tensor) -> Tensor:
        """Logits to probabilities ``(N, 1, H, W)``."""
        return output.float().sigmoid()

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 probabilities: ``.npy`` and ``.mat`` hold them, ``.png`` 255 (or
        65535) times them.
        """
        return read_probability(path, self.name)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        return probability_to_png(prediction)
