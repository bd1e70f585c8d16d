"""Each task's losses: of its output, of intermediate predictions, and of what it shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from m2h_mm.structures import ConsistencyContext, Label
from m2h_mm.tasks import Task

from .building import build_losses, require_tasks


class TaskLosses(nn.ModuleDict):
    """The losses of every task, each a list whose items are summed.

    A loss that states ``tasks`` is one between tasks: it is given the context, and counts with the
    task it stands under instead of beside all tasks as those of ``model.consistency``.

    Args:
        losses: task name to the config of a loss or a list of them.
        tasks: name to task.
        aux_weight: factor of the losses of intermediate predictions, for all tasks or by name. Of
            them neither a loss between tasks is computed nor one that states ``final_only = True``.

    Raises:
        ValueError: tasks without losses or the other way round, a loss between tasks of which the
            model lacks one, weights for some of the tasks only.
    """

    def __init__(
        self,
        losses: Mapping[str, dict | Sequence[dict]],
        tasks: Mapping[str, Task],
        aux_weight: float | Mapping[str, float],
    ) -> None:
        names = tuple(tasks)
        require_tasks('model.losses', losses, names, complete=True)
        if isinstance(aux_weight, Mapping):
            require_tasks('model.aux_weight', aux_weight, names, complete=True)
        else:
            aux_weight = dict.fromkeys(names, aux_weight)
        super().__init__(
            {name: build_losses(f'model.losses.{name}', losses[name]) for name in names}
        )
        self.tasks, self.aux_weight = dict(tasks), dict(aux_weight)
        for name, parts in self.items():
            for index, loss in enumerate(parts):
                key = f'model.losses.{name}[{index}] ({type(loss).__name__})'
                require_tasks(key, getattr(loss, 'tasks', ()), names)

    @property
    def need_context(self) -> bool:
        """Whether one of them is a loss between tasks."""
        return any(hasattr(loss, 'tasks') for parts in self.values() for loss in parts)

    def forward(
        self,
        outputs: Mapping[str, Tensor],
        aux: Sequence[Mapping[str, Tensor]],
        targets: Mapping[str, Label],
        context: ConsistencyContext | None = None,
    ) -> dict[str, Tensor]:
        """
        Args:
            outputs: ``(N, K, H, W)`` by task, at the size of the labels.
            aux: intermediate predictions, one dict per scale, at any resolution.
            targets: labels.
            context: for losses between tasks.

        Returns:
            Each task's loss before weighting.
        """
        return {
            name: self._of_task(name, outputs[name], aux, targets[name], context)
            for name in self.tasks
        }

    def _of_task(
        self,
        name: str,
        output: Tensor,
        aux: Sequence[Mapping[str, Tensor]],
        target: Label,
        context: ConsistencyContext | None,
    ) -> Tensor:
        single = [loss for loss in self[name] if not hasattr(loss, 'tasks')]
        total = sum(loss(output, target.value, target.valid) for loss in single)
        for loss in self[name]:
            if hasattr(loss, 'tasks'):
                total = total + loss(context.seen_by(loss))
        repeated = [loss for loss in single if not getattr(loss, 'final_only', False)]
        for predictions in aux:
            if name in predictions and repeated:
                size = tuple(target.value.shape[-2:])
                prediction = self.tasks[name].resize_output(predictions[name], size)
                total = total + self.aux_weight[name] * sum(
                    loss(prediction, target.value, target.valid) for loss in repeated
                )
        return total
