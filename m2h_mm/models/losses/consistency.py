"""The base of the losses between two tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import chain, count

from torch import Tensor, nn

from m2h_mm.structures import ConsistencyContext


class ConsistencyLoss(nn.Module, ABC):
    """Compares the outputs of the two ``tasks`` that a subclass names.

    Args:
        detach: the one of the tasks whose side gets no gradient. Default: both are trained.
        loss_weight: factor of the loss.
        name: it is logged as ``loss_<name>``. Default: the name of its class, followed by a number
            where a model has several of that name.

    ``forward(context)``: a :class:`~m2h_mm.structures.ConsistencyContext` to a scalar, 0 with zero
    gradients if nothing counts.

    Raises:
        ValueError: ``detach`` is none of the tasks.
    """

    tasks: tuple[str, str]
    needs_camera = True

    def __init__(
        self, detach: str | None = None, loss_weight: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__()
        if detach is not None and detach not in self.tasks:
            raise ValueError(
                f'{type(self).__name__}.detach: expected one of {self.tasks} or None, got '
                f'{detach!r}.'
            )
        self.detach = detach
        self.loss_weight = loss_weight
        self.name = name

    def forward(self, context: ConsistencyContext) -> Tensor:
        outputs = (
            context.outputs[task].detach() if task == self.detach else context.outputs[task]
            for task in self.tasks
        )
        return self.loss_weight * self.compare(*outputs, context)

    @abstractmethod
    def compare(self, first: Tensor, second: Tensor, context: ConsistencyContext) -> Tensor:
        """The loss before its factor.

        Args:
            first, second: outputs of the two tasks, in the order of ``tasks``, ``(N, K, H, W)``.
            context: all else; ``context.valid`` is where they are to be compared.
        """


def log_keys(losses: Iterable[nn.Module], tasks: Sequence[str]) -> list[str]:
    """Under which keys losses between tasks are logged, all different: ``loss_<name>``.

    The name is the loss's own, or that of its class; where it is taken, a number follows.
    """
    keys: list[str] = []
    taken = {f'loss_{task}' for task in tasks}
    for loss in losses:
        name = getattr(loss, 'name', None) or type(loss).__name__
        candidates = chain([f'loss_{name}'], (f'loss_{name}_{number}' for number in count(2)))
        keys.append(next(key for key in candidates if key not in taken))
        taken.add(keys[-1])
    return keys
