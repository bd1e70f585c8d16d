"""DBMTL: logarithms of the losses, gradients of one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from m2h_mm.registry import MODELS

from .base import LEAST_LOSS
from .combination import GradientCombination

EPSILON = 1e-8  # the paper's


@MODELS.register_module()
class DBMTL(GradientCombination):
    """Dual-balancing multi-task learning (Lin et al., arXiv 2308.12029, alg. 1).

    Losses are balanced by their logarithm: heads and gradients are those of ``log L``, weights
    ``1 / L``. (In a distributed training with L over all processes.) Gradients are balanced by
    their length: the moving average of each task's gradient of the shared parameters is stretched
    to that of the longest, and the sum of them goes to the shared parameters. The scale of a loss
    does not matter, hence there are no base weights.

    A task whose loss is absent, not above 0 or not finite, or whose gradient is zero or not finite,
    keeps its average and adds nothing in that step. (The public implementation adds its old
    average, blown up to full length.) A loss below 1e-6 counts as 1e-6. Of the rest see
    :class:`GradientCombination`.

    The averages are saved in checkpoints: as many numbers as tasks times shared parameters, of
    which the guard against non-finite losses holds a copy too. With ``momentum=0`` there is no
    state but the loss scale.

    Args:
        tasks: task names; filled in by the model.
        momentum: share of the old average, from 0 to below 1; the paper's beta. It starts from
            zero, so that the first combined gradients are shorter.
        decay: exponent by which the momentum falls with the number k of the step, ``momentum /
            k^decay``; 0: constant.
        shared: see :class:`GradientCombination`.

    Raises:
        ValueError: ``momentum`` or ``decay`` outside of that; a checkpoint's averages are of other
            parameters; see also :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        momentum: float = 0.9,
        decay: float = 0.0,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        super().__init__(tasks, None, shared)
        if not 0 <= momentum < 1 or decay < 0:
            raise ValueError(
                'model.weighting (DBMTL): expected momentum from 0 to below 1 and decay of at '
                f'least 0, got {momentum} and {decay}.'
            )
        self.momentum = momentum
        self.decay = decay
        self.register_buffer('own', torch.ones(len(self.tasks)), persistent=False)
        # How large they are shows in the first backward pass. No buffer: an average of the model's
        # weights, which is a copy of the model from before that, could not follow.
        self._averages = torch.zeros(len(self.tasks), 0)
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))

    @property
    def factors(self) -> Tensor:
        return self.own * self.current

    def own_weights(self, losses: Mapping[str, Tensor]) -> Tensor:
        values, usable = self.observe(losses)
        weights = 1 / (values.clamp(min=LEAST_LOSS) + EPSILON)
        self.own = torch.where(usable & (values > 0), weights, 1.0)
        self._above_zero = usable & (values > 0)
        return self.own

    def usable_rows(self, rows: Tensor) -> Tensor:
        rows.masked_fill_(~self._above_zero[:, None], 0.0)
        return super().usable_rows(rows)

    def remember(self, rows: Tensor, usable: Tensor) -> Tensor:
        if not self.momentum:
            return rows
        if not self._averages.shape[1]:
            self._averages = torch.zeros_like(rows)
        if self._averages.shape != rows.shape:
            raise ValueError(
                'model.weighting (DBMTL): the averages of the checkpoint are of '
                f'{tuple(self._averages.shape)} numbers, the gradients of {tuple(rows.shape)}. '
                'Resume with the same model, the same frozen parts and the same '
                'model.weighting.shared, or begin a new training with load_from.'
            )
        self.steps += 1
        momentum = self.momentum / self.steps.double() ** self.decay
        kept = torch.where(usable, momentum, 1.0).to(rows)[:, None]
        # A new tensor: a checkpoint or the guard may still hold the old one.
        self._averages = self._averages.to(rows) * kept + rows * (1 - kept)
        return self._averages

    def coefficients(self, products: np.ndarray, tasks: Sequence[int]) -> np.ndarray:
        lengths = np.sqrt(np.diag(products))
        return lengths.max() / (lengths + EPSILON)

    def get_extra_state(self) -> Tensor:
        return self._averages

    def set_extra_state(self, state: Tensor) -> None:
        self._averages = state.to(self.base).clone()
