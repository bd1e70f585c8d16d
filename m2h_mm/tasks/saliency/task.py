"""Saliency."""

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
    odd_binary_values,
    probability_to_png,
    read_array,
    read_probability,
    require_dims,
)


@TASKS.register_module('saliency')
class Saliency(Task):
    """Probability that a pixel belongs to what stands out.

    Labels are 1 on what is salient, 0 elsewhere. Outputs are logits, predictions probabilities.

    Args:
        channels: of the output. 2, as in the multi-task literature: not salient and salient, under
            a softmax, trained with ``BalancedCrossEntropyLoss`` or ``CrossEntropyLoss``. 1: under a
            sigmoid, trained with ``BalancedBCELoss``. Default: 2.

    Raises:
        ValueError: any other number of channels.
    """

    meaning = 'probability of being salient'
    prediction_suffix = '.png'
    metric = 'maxF'
    higher_is_better = True

    def __init__(self, channels: int = 2) -> None:
        if channels not in (1, 2):
            raise ValueError(
                f'tasks.saliency.channels: expected 2 (softmax) or 1 (sigmoid), got {channels!r}.'
            )
        self.channels = channels

    def read(self, path: str | Path) -> Label:
        """``(H, W)`` uint8, 0 or 1, known everywhere: ``.png`` of 8 bits is salient above 127,
        ``.npy`` and ``.mat`` hold 0 and 1.

        Raises:
            ValueError: not ``(H, W)``, or a ``.npy`` or ``.mat`` with values outside 0..1.
        """
        if Path(path).suffix == '.png':
            return self._label(read_probability(path, self.name))
        stored = require_dims(read_array(path), 2, path, self.name, booleans=True)
        if stored.size and not 0 <= stored.min() <= stored.max() <= 1:
            raise ValueError(
                f'File {path} of task {self.name!r}: expected 0 (not salient) and 1 (salient), '
                f'got values in {stored.min()}..{stored.max()}. Store 0..255 as an 8-bit .png.'
            )
        return self._label(stored)

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        yield odd_binary_values(path)
        yield from super().inspect(path, label)

    def decode(self, output: Tensor) -> Tensor:
        """Logits ``(N, 2, H, W)`` or ``(N, 1, H, W)`` to probabilities ``(N, 1, H, W)``."""
        logits = output.float()
        # The softmax of two channels is the sigmoid of their difference.
        return (logits[:, 1:] - logits[:, :1] if self.channels == 2 else logits).sigmoid()

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 probabilities: ``.npy`` and ``.mat`` hold them, ``.png`` 255 (or
        65535) times them.
        """
        return read_probability(path, self.name)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        return probability_to_png(prediction)

    @staticmethod
    def _label(probability: np.ndarray) -> Label:
        return Label((probability > 0.5).astype(np.uint8), np.ones(probability.shape, bool))
