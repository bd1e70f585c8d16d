"""Object boundaries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.doubt import Doubt
from m2h_mm.tasks.files import (
    largest_binary,
    odd_binary_values,
    probability_to_png,
    read_array,
    read_probability,
    require_dims,
)


@TASKS.register_module('edge')
class Edge(Task):
    """Probability that a pixel lies on an object boundary.

    Labels are 1 on a boundary, 0 elsewhere. Outputs are logits, predictions probabilities.
    """

    meaning = 'probability of an edge'
    prediction_suffix = '.png'
    metric = 'odsF'
    higher_is_better = True

    def read(self, path: str | Path) -> Label:
        """``(H, W)`` uint8, 0 or 1, known everywhere: ``.npy`` holds 0 and 1, 8-bit ``.png`` holds
        0 and 255.
        """
        stored = require_dims(read_array(path), 2, path, self.name, booleans=True)
        edges = (stored > largest_binary(stored, path) / 2).astype(np.uint8)
        return Label(edges, np.ones(edges.shape, bool))

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        yield odd_binary_values(path)
        yield from super().inspect(path, label)

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
