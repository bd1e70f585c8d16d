"""GeometricMeanWeighting: the product of the losses instead of their sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from m2h_mm.registry import MODELS

from .base import LEAST_LOSS, Weighting


@MODELS.register_module()
class GeometricMeanWeighting(Weighting):
    """Geometric loss strategy (Chennupati et al., arXiv 1904.08492, sec. 3.2): the total loss is
    the geometric mean ``(L_1 ... L_K) ^ (1 / K)``, times K.

    Its gradient is that of a sum with weights ``mean / L_k``, so that every task falls by the same
    share whatever the scale of its loss; constant factors would change nothing, hence there are
    none. (The factor K, which the paper lacks, makes the weights 1 where all losses are equal, as
    with the other weightings.) The weighted loss of every task is the mean itself, and their sum
    the total.

    A loss must be positive: one that is absent, not above 0 (exactly 0: no pixel is labelled) or
    not finite is left out of the mean and has weight 1. In a distributed training losses are
    averaged over the processes first, hence all have the same weights. A loss below 1e-6 counts as
    1e-6. There is no state to save.

    Args:
        tasks: task names; filled in by the model.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(tasks)
        self.register_buffer('current', torch.ones(len(self.tasks)), persistent=False)

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values, usable = self.observe(losses)
        usable &= values > 0
        values = torch.where(usable, values.clamp(min=LEAST_LOSS), 1.0)
        mean = (values.log().sum() / usable.sum().clamp(min=1)).exp()
        self.current = torch.where(usable, mean / values, 1.0)
        return super().forward(losses)
