"""UncertaintyWeighting: weights from learned task uncertainties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .base import Weighting


@MODELS.register_module()
class UncertaintyWeighting(Weighting):
    """Homoscedastic uncertainty weighting (Kendall et al., CVPR 2018, eq. 10), that of M2H-MX.

    The weighted loss of a task is ``exp(-s) L + s / 2`` with a learned s, the logarithm of its
    noise variance. (The paper's regression terms carry a further factor 1/2 on L, which belongs to
    a squared error; here all tasks are treated alike and all weights start at 1.) A weighted loss
    can be negative. Where a task's loss is absent or exactly 0 (no labelled pixel) s gets no
    gradient: ``s / 2`` alone would drive it to minus infinity.

    s is trained by the model's optimizer. Weight decay would pull the weights to 1; exempt it with
    ``paramwise_cfg=dict(custom_keys={'weighting': dict(decay_mult=0.)})``.

    Args:
        tasks: task names; filled in by the model.
        base_weights: task name to a constant factor on L; 1 for a task that is not named.

    Raises:
        ValueError: ``base_weights`` names a task that the model lacks, or holds a negative factor.
    """

    def __init__(
        self, tasks: Sequence[str], base_weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(tasks, base_weights)
        self.log_variances = nn.Parameter(torch.zeros(len(self.tasks)))

    @property
    def factors(self) -> Tensor:
        return torch.exp(-self.log_variances)

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        _, usable = self.stack(losses)
        penalties = dict(zip(self.tasks, (self.log_variances * usable / 2).unbind(), strict=True))
        return {task: loss + penalties[task] for task, loss in super().forward(losses).items()}
