"""The base class of the loss weightings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

# Of a loss that is divided by itself: a smaller one counts as this, so that no weight exceeds 1e6.
LEAST_LOSS = 1e-6


class Weighting(nn.Module, ABC):
    """Multiplies each task's loss by a weight.

    A subclass says in :attr:`factors` what the weights are now, and may override :meth:`forward` to
    learn from the losses.

    Args:
        tasks: task names, in the model's order.
        base_weights: task name to a fixed factor; 1 for a task that is not named.

    ``forward({task: loss})`` returns ``{task: weighted loss}`` for the tasks it is given, float32
    also for half losses.

    Raises:
        ValueError: ``base_weights`` names a task that is not in ``tasks``, or holds a negative
            factor.
    """

    def __init__(
        self, tasks: Sequence[str], base_weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        base_weights = dict(base_weights or {})
        unknown = sorted(set(base_weights) - set(self.tasks))
        if unknown:
            raise ValueError(
                f'model.weighting ({type(self).__name__}): weights for {unknown}, but '
                f'model.tasks are {list(self.tasks)}. Remove them or add the tasks.'
            )
        if any(weight < 0 for weight in base_weights.values()):
            raise ValueError(
                f'model.weighting ({type(self).__name__}): expected weights of at least 0, got '
                f'{base_weights}.'
            )
        base = torch.tensor([float(base_weights.get(task, 1.0)) for task in self.tasks])
        self.register_buffer('base', base, persistent=False)

    @property
    @abstractmethod
    def factors(self) -> Tensor:
        """``(len(tasks),)`` factors on top of the base weights."""

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights of the last forward by task name, scalars without gradient, for logging."""
        return dict(zip(self.tasks, (self.base * self.factors.detach()).unbind(), strict=True))

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        weights = dict(zip(self.tasks, (self.base * self.factors).unbind(), strict=True))
        return {task: weights[task] * loss for task, loss in losses.items()}

    def stack(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The losses ``(len(tasks),)`` without gradient, 0 where unusable, and bool: which are
        usable.

        A loss that is absent, exactly 0 (no pixel of the batch is labelled) or not finite (overflow
        under autocast, a step that the loss scaler skips) says nothing about the task.
        """
        nothing = self.base.new_zeros(())
        values = torch.stack(
            [
                losses[task].detach().to(nothing) if task in losses else nothing
                for task in self.tasks
            ]
        )
        usable = torch.isfinite(values) & (values != 0)
        return torch.where(usable, values, 0.0), usable

    def observe(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """As :meth:`stack`, the mean over the processes of a training in which a loss is usable:
        all processes have the same numbers, and call this together.
        """
        values, usable = self.stack(losses)
        values, count = over_processes(torch.stack((values, usable.to(values))))
        return values / count.clamp(min=1), count > 0


def over_processes(numbers: Tensor) -> Tensor:
    """Their sum over the processes of a training, in place."""
    all_reduce(numbers)
    return numbers
