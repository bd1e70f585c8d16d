"""DynamicWeightAverage: weights from how fast each loss falls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor

from m2h_mm.registry import MODELS

from .base import Weighting


@MODELS.register_module()
class DynamicWeightAverage(Weighting):
    """Dynamic weight averaging (Liu et al., CVPR 2019, eq. 7), the weighting of M2H.

    In epoch t the weight of task k is ``K exp(r_k / T) / sum_i exp(r_i / T)`` with ``r_k = L_k(t-1)
    / L_k(t-2)``, L the mean loss of an epoch: a task whose loss falls slower than the others' gets
    more weight. In the first two epochs all weights are 1. Iteration-based training has no epochs,
    so one is counted as ``interval`` training iterations.

    Only forward passes in training mode count. An iteration in which a task's loss is absent,
    exactly 0 (no labelled pixel) or not finite does not enter its mean; a task without a mean keeps
    its last one, and r = 1 while it has fewer than two.

    The whole state is in buffers, so that a resumed training continues as if it had not been
    interrupted. In distributed training the sums are added up over the processes at the end of each
    epoch, hence all have the same weights; a checkpoint from the middle of an epoch holds the sums
    of the process that wrote it, which on resuming stand for all of them.

    Args:
        tasks: task names; filled in by the model.
        temperature: T; large values bring the weights closer to each other.
        interval: iterations of an epoch; the size of the training set over the total batch size is
            the paper's epoch.
        base_weights: task name to a constant factor on top, for losses of different scale (r is
            blind to scale); 1 for a task that is not named.

    Raises:
        ValueError: ``temperature`` or ``interval`` is not above 0, or ``base_weights`` names a task
            that the model lacks or holds a negative factor.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        temperature: float = 2.0,
        interval: int = 100,
        base_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(tasks, base_weights)
        if temperature <= 0:
            raise ValueError(
                f'DynamicWeightAverage.temperature: expected a number above 0, got {temperature}.'
            )
        if interval < 1:
            raise ValueError(
                f'DynamicWeightAverage.interval: expected at least 1 iteration, got {interval}.'
            )
        self.temperature = temperature
        self.interval = interval
        count = len(self.tasks)
        self.register_buffer('current', torch.ones(count))
        self.register_buffer('means', torch.zeros(2, count))  # of the last two epochs; 0: none yet
        self.register_buffer(
            'sums', torch.zeros(2, count)
        )  # of this epoch: of the losses, of the usable iterations
        self.register_buffer('iteration', torch.zeros((), dtype=torch.long))
        # The same number outside the device: asking a GPU for it would stall every forward pass.
        self._iteration = 0

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.training:
            # Beyond it where a training goes on with a shorter interval.
            if self._iteration >= self.interval:
                self._close_epoch()
            self._observe(losses)
        return super().forward(losses)

    @torch.no_grad()
    def _observe(self, losses: Mapping[str, Tensor]) -> None:
        values, usable = self.stack(losses)
        self.sums += torch.stack((values, usable.to(values)))
        self.iteration += 1
        self._iteration += 1

    @torch.no_grad()
    def _close_epoch(self) -> None:
        total, count = self._over_processes(self.sums)
        previous = self.means[1]
        latest = torch.where(count > 0, total / count.clamp(min=1), previous)
        known = (previous > 0) & (latest > 0)
        ratio = torch.where(known, latest / torch.where(known, previous, 1.0), 1.0)
        # A new tensor: a graph that still holds the old weights must not see them change before its
        # backward pass.
        self.current = len(self.tasks) * torch.softmax(ratio / self.temperature, dim=0)
        self.means = torch.stack((previous, latest))
        self.sums.zero_()
        self.iteration.zero_()
        self._iteration = 0

    @staticmethod
    def _over_processes(sums: Tensor) -> Tensor:
        sums = sums.clone()
        all_reduce(sums)
        return sums

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._iteration = int(self.iteration)
