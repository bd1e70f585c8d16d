"""FixedWeighting: constant weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from m2h_mm.registry import MODELS

from .base import Weighting


@MODELS.register_module()
class FixedWeighting(Weighting):
    """The same weights for the whole training.

    Args:
        tasks: task names; filled in by the model.
        weights: task name to factor, on top of each loss's own ``loss_weight``; 1 for a task that
            is not named.

    Raises:
        ValueError: ``weights`` names a task that the model lacks, or holds a negative factor.
    """

    def __init__(self, tasks: Sequence[str], weights: Mapping[str, float] | None = None) -> None:
        super().__init__(tasks, weights)

    @property
    def factors(self) -> Tensor:
        return torch.ones_like(self.base)
