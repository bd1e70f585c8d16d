"""FAMO: weights from how much each loss fell by the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from m2h_mm.registry import MODELS

from .base import LEAST_LOSS, Weighting

EPSILON = 1e-8  # the paper's, of losses and of Adam
BETAS = (0.9, 0.999)


@MODELS.register_module()
class FAMO(Weighting):
    """Fast adaptive multi-task optimization (Liu et al., NeurIPS 2023, alg. 1).

    With ``z = softmax(xi)`` the weights are ``K z_k / L_k``, divided by ``sum_k z_k / L_k``: every
    loss falls by the same share where z are equal, and the weights add up to the number of tasks
    (the paper's to 1). Behind the optimizer's step the losses of the same frames are computed
    again, and xi follows, by Adam with a decay, what z has done to them: a task whose logarithm
    fell less than the others' gets more weight. The scale of a loss does not matter, hence there
    are no base weights.

    The second forward pass is :func:`~m2h_mm.models.losses_after_step.take_step`'s: without
    gradients, with the same random numbers as the first (dropout) and without a trace in the
    statistics of normalisation. It is the cost: one more forward pass per step. With accumulation
    the frames of the last iteration stand for the step. Not with FSDP.

    A task whose loss is absent, not above 0 or not finite, before or after the step, keeps its xi
    and is left out of z, with weight 1. A loss below 1e-6 counts as 1e-6. Losses are averaged over
    the processes of a training, hence all have the same weights. The whole state is in buffers.

    Args:
        tasks: task names; filled in by the model.
        learning_rate: of xi.
        decay: of xi, added to its gradient; the authors take 1e-3 on NYUD-v2.

    Raises:
        ValueError: ``learning_rate`` not above 0, ``decay`` negative.
    """

    def __init__(
        self, tasks: Sequence[str], learning_rate: float = 0.025, decay: float = 1e-3
    ) -> None:
        super().__init__(tasks)
        if learning_rate <= 0 or decay < 0:
            raise ValueError(
                'model.weighting (FAMO): expected learning_rate above 0 and decay of at least 0, '
                f'got {learning_rate} and {decay}.'
            )
        self.learning_rate = learning_rate
        self.decay = decay
        count = len(self.tasks)
        self.register_buffer('current', torch.ones(count))
        self.register_buffer('logits', torch.zeros(count))  # xi
        # Adam's, by task: mean of the gradients, of their squares, number of steps.
        self.register_buffer('moments', torch.zeros(3, count))
        self._before: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.training and torch.is_grad_enabled():
            with torch.no_grad():
                values, usable = self._observe(losses)
                shares = torch.where(usable, self.logits, -torch.inf).softmax(dim=0)
                # All zero where no task is usable.
                shares = torch.where(usable, shares, 0.0)
                weights = usable.sum() * (shares / values) / (shares / values).sum()
                self.current = torch.where(usable, weights, 1.0)
                self._before = (values, shares, usable)
        return super().forward(losses)

    @torch.no_grad()
    def learn_after_step(self, losses: Mapping[str, Tensor]) -> None:
        """Learn from what the step has done.

        Args:
            losses: of the frames of the last forward pass, behind the optimizer's step.
        """
        if self._before is None:
            return
        (before, shares, usable), self._before = self._before, None
        after, still = self._observe(losses)
        usable = usable & still
        fell = torch.where(usable, before.log() - after.log(), 0.0)
        gradient = shares * (fell - (shares * fell).sum()) + self.decay * self.logits
        first, second, steps = self.moments
        steps = steps + 1
        first = torch.lerp(gradient, first, BETAS[0])
        second = torch.lerp(gradient**2, second, BETAS[1])
        size = (second / (1 - BETAS[1] ** steps)).sqrt() + EPSILON
        moved = self.logits - self.learning_rate * first / (1 - BETAS[0] ** steps) / size
        self.logits = torch.where(usable, moved, self.logits)
        self.moments = torch.where(usable, torch.stack((first, second, steps)), self.moments)

    def _observe(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        values, usable = self.observe(losses)
        usable = usable & (values > 0)
        return torch.where(usable, values.clamp(min=LEAST_LOSS), 1.0) + EPSILON, usable
