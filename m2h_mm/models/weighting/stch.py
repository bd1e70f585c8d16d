"""STCH: a smooth maximum of the losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from m2h_mm.registry import MODELS

from .base import LEAST_LOSS, Weighting


@MODELS.register_module()
class STCH(Weighting):
    """Smooth Tchebycheff scalarization (Lin et al., ICML 2024, eq. 10).

    The total is ``K mu log sum_k exp(l_k / mu)`` with ``l_k = log(L_k / n_k)``, K tasks and n the
    losses at the end of a warm-up; its weights are ``K softmax(l / mu)_k / L_k``: the smaller mu,
    the more the task that is worst off relative to n counts alone. During the warm-up the total is
    the sum of ``log L_k``, weights ``1 / L_k``. The scale of a loss does not matter, hence there
    are no base weights.

    n is the mean of the last ``interval`` iterations of the warm-up. A task whose loss is absent,
    not above 0 or not finite in all of them has its n later, from the first ``interval`` iterations
    in which it is usable, and weight ``1 / L`` until then. In an iteration in which a loss is so,
    it counts nowhere and has weight 1. A loss below 1e-6 counts as 1e-6.

    Only forward passes in training mode count. Losses are averaged over the processes of a
    training, hence all have the same weights. The whole state is in buffers: a resumed training
    continues as if it had not been interrupted, also in the warm-up. With accumulation, iterations
    are counted as everywhere.

    Args:
        tasks: task names; filled in by the model.
        mu: above 0. With 1 the weights change only with the mean of ``L / n``.
        warmup: iterations; 0 < interval <= warmup. A training that is not longer never leaves it.
        interval: iterations over which n is averaged.

    Raises:
        ValueError: arguments outside of that.
    """

    def __init__(
        self, tasks: Sequence[str], mu: float = 1.0, warmup: int = 500, interval: int = 100
    ) -> None:
        super().__init__(tasks)
        if mu <= 0:
            raise ValueError(f'model.weighting.mu (STCH): expected a number above 0, got {mu}.')
        if not 0 < interval <= warmup:
            raise ValueError(
                'model.weighting (STCH): expected 0 < interval <= warmup, in iterations, got '
                f'interval={interval} and warmup={warmup}.'
            )
        self.mu = mu
        self.warmup = warmup
        self.interval = interval
        count = len(self.tasks)
        self.register_buffer('current', torch.ones(count))
        self.register_buffer('reference', torch.zeros(count))  # n; 0: none yet
        # Of what becomes n: of the losses, of the usable iterations.
        self.register_buffer('sums', torch.zeros(2, count))
        self.register_buffer('iteration', torch.zeros((), dtype=torch.long))
        # The same number outside the device: asking a GPU for it would stall every forward pass.
        self._iteration = 0

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.training:
            with torch.no_grad():
                self._observe(losses)
        return super().forward(losses)

    def _observe(self, losses: Mapping[str, Tensor]) -> None:
        values, usable = self.observe(losses)
        usable &= values > 0
        values = torch.where(usable, values.clamp(min=LEAST_LOSS), 1.0)
        # A new tensor: a graph that still holds the old weights must not see them change before its
        # backward pass.
        self.current = torch.where(usable, self._weights(values, usable) / values, 1.0)
        if self._iteration >= self.warmup - self.interval:
            self.sums = self.sums + torch.stack((values, torch.ones_like(values))) * usable
            total, count = self.sums
            enough = count > 0 if self._iteration + 1 == self.warmup else count >= self.interval
            done = enough & (self.reference == 0)
            self.reference = torch.where(done, total / count.clamp(min=1), self.reference)
        self.iteration += 1
        self._iteration += 1

    def _weights(self, values: Tensor, usable: Tensor) -> Tensor:
        """Of the logarithms of the losses."""
        known = usable & (self.reference > 0)
        if self._iteration < self.warmup:
            return torch.ones_like(values)
        ratios = torch.log(values / torch.where(known, self.reference, 1.0)) / self.mu
        shares = torch.softmax(torch.where(known, ratios, -torch.inf), dim=0)
        return torch.where(known, known.sum() * shares, 1.0)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._iteration = int(self.iteration)
