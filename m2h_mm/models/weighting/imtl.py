"""IMTL: losses of one size, and a gradient that is equally long along all tasks' gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .combination import GradientCombination

DEPENDENT = 1e-6  # eigenvalues of the cosines below this are those of gradients that depend
LARGEST = 10.0  # of a factor that is still taken for a balance


@MODELS.register_module()
class IMTL(GradientCombination):
    """Impartial multi-task learning (Liu et al., ICLR 2021): balance of losses (L, sec. 3.2), of
    gradients (G, eq. 6), or both, the paper's method.

    L: a task's weighted loss is ``exp(s) L - s`` with a learned s, whose optimum brings every
    weighted loss to 1. s is trained by the model's optimizer; weight decay would pull it to 0,
    exempt it with ``paramwise_cfg=dict(custom_keys={'weighting': dict(decay_mult=0.)})``, and give
    it ``lr_mult`` where the learning rate is small: Adam moves s by at most that in a step.

    G: the shared parameters get ``sum_k c_k g_k``, g the gradients of ``exp(s) L``, with equal
    inner products with every ``g_k / |g_k|``. The paper's c add up to 1, here to the number of
    tasks. They can be negative. Where gradients nearly depend on each other the solution is not
    determined: the shortest one is taken, and where its sum is not positive or a factor
    exceeds 10, the plain sum.

    Heads get the gradient of ``exp(s) L``; of the rest see :class:`GradientCombination`. A task
    whose loss is absent, not above 0 or not finite does not train its s.

    Args:
        tasks: task names; filled in by the model.
        losses: L: balance the losses.
        gradients: G: balance the gradients. L alone costs no backward pass.
        base_weights: task name to a constant factor on its loss, where exp(s) starts; 1 for a task
            that is not named.
        shared: see :class:`GradientCombination`.

    Raises:
        ValueError: neither ``losses`` nor ``gradients``; see also :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        losses: bool = True,
        gradients: bool = True,
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        if not (losses or gradients):
            raise ValueError(
                'model.weighting (IMTL): losses and gradients are both False, so that nothing is '
                "balanced. Leave one True, or use type='FixedWeighting'."
            )
        super().__init__(tasks, base_weights, shared if gradients else ())
        self.gradients = gradients
        self.log_scales = nn.Parameter(torch.zeros(len(self.tasks))) if losses else None

    @property
    def factors(self) -> Tensor:
        scales = 1.0 if self.log_scales is None else self.log_scales.exp()
        return self.current * scales

    def learns_from(self, losses: Mapping[str, Tensor]) -> bool:
        return self.gradients and super().learns_from(losses)

    def own_weights(self, losses: Mapping[str, Tensor]) -> Tensor:
        return self.base if self.log_scales is None else self.base * self.log_scales.exp()

    def forward(
        self, losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter] = ()
    ) -> dict[str, Tensor]:
        weighted = super().forward(losses, parameters)
        if self.log_scales is None:
            return weighted
        values, usable = self.stack(losses)
        rewards = (self.log_scales * (usable & (values > 0))).unbind()
        rewards = dict(zip(self.tasks, rewards, strict=True))
        return {task: loss - rewards[task] for task, loss in weighted.items()}

    def coefficients(self, products: np.ndarray, tasks: Sequence[int]) -> np.ndarray:
        return len(tasks) * equal_projections(products)


def equal_projections(products: np.ndarray) -> np.ndarray:
    """Factors ``(t,)`` that add up to 1, with the same ``g_k . d / |g_k|`` for every task; equal
    ones where there are none of use.

    Args:
        products: inner products of the gradients ``(t, t)``, none of them zero.
    """
    lengths = np.sqrt(np.diag(products))
    cosines = products / np.outer(lengths, lengths)
    factors = np.linalg.pinv(cosines, rcond=DEPENDENT, hermitian=True).sum(axis=1) / lengths
    total = factors.sum()
    if total <= 0 or np.abs(factors).max() > LARGEST * total:
        return np.full(len(products), 1 / len(products))
    return factors / total
