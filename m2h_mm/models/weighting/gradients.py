"""The base class of the weightings that look at the tasks' gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

from .base import Weighting

START_SCALE = 2.0**14
COLUMNS = 2**20  # of the gradients that are in float64 at once


class GradientWeighting(Weighting):
    """A weighting that is given the parameters which the tasks share, beside the losses.

    ``forward({task: loss}, parameters)``: the model passes the trainable parameters of its parts
    ``shared``; of these, the ones that two tasks or more depend on count. Every training iteration
    costs one further backward pass per task from its loss down to these parameters (not through the
    backbone, unless it is in ``shared``), and memory for two gradients of them per task. The graph
    is gone through inside the forward pass: without FSDP, and with activation checkpointing only of
    the kind that allows it (``use_reentrant=False``).

    The losses of intermediate predictions are part of their task's loss, and so are their
    gradients. Consistency losses belong to no task: they are neither weighed nor looked at, the
    model adds them to the sum as they are.

    In a distributed training the gradients of all tasks are averaged over the processes before they
    are looked at, so that each process has those of all frames: that sends as many numbers per task
    as the averaging of the gradients does. Where gradients are accumulated, they are those of the
    iteration's own frames.

    In half precision small gradients would vanish; the losses are therefore scaled by a power of
    two, which is halved for the next iteration whenever it was too much.

    Args:
        tasks: task names.
        base_weights: task name to a constant factor on its loss; 1 for a task that is not named.
        shared: parts of the model, as the names of its parameters begin.

    Raises:
        ValueError: ``base_weights`` names a task that is not in ``tasks``, or holds a negative
            factor; in the forward pass, no parameter of ``shared`` is shared.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        super().__init__(tasks, base_weights)
        self.shared = (shared,) if isinstance(shared, str) else tuple(shared)
        self.register_buffer('scale', torch.tensor(START_SCALE))

    def learns_from(self, losses: Mapping[str, Tensor]) -> bool:
        """Whether this is a training iteration with at least two tasks to balance."""
        return (
            self.training
            and torch.is_grad_enabled()
            and sum(loss.requires_grad for loss in losses.values()) > 1
        )

    def task_gradients(
        self, losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]
    ) -> tuple[list[nn.Parameter], Tensor]:
        """The parameters that are shared, and the gradients of the losses ``(len(tasks), number of
        weights)``, of the base weights' dtype, averaged over the processes.

        A task without a loss has zeros. What is not finite stays so, and the scale is halved.
        """
        found = {
            task: torch.autograd.grad(
                loss * self.scale, parameters, retain_graph=True, allow_unused=True
            )
            for task, loss in losses.items()
            if loss.requires_grad
        }
        users = [
            sum(gradients[index] is not None for gradients in found.values())
            for index in range(len(parameters))
        ]
        chosen = [index for index, count in enumerate(users) if count > 1]
        if not chosen:
            raise ValueError(
                f'model.weighting ({type(self).__name__}): of the {len(parameters)} trainable '
                f'parameters of {list(self.shared)} none is shared by two of the tasks '
                f'{list(found)}, so their gradients cannot be compared. Name the part of the '
                'model that is shared in model.weighting.shared, or choose a weighting that '
                'needs no gradients.'
            )
        shared = [parameters[index] for index in chosen]
        sizes = [parameter.numel() for parameter in shared]
        rows = self.base.new_zeros(len(self.tasks), sum(sizes))
        for task in list(found):
            row = rows[self.tasks.index(task)].split(sizes)
            gradients = found.pop(task)
            for part, index in zip(row, chosen, strict=True):
                if gradients[index] is not None:
                    part.copy_(gradients[index].flatten())
        rows /= self.scale
        all_reduce(rows, op='mean')
        fits = torch.isfinite(largest(rows)).all()
        self.scale = torch.where(fits, self.scale, (self.scale / 2).clamp(min=1))
        return shared, rows

    def usable_rows(self, rows: Tensor) -> Tensor:
        """``(len(tasks),)`` bool: the tasks whose gradient is finite and not zero. What of the
        others is not finite is set to zero.
        """
        size = largest(rows)
        usable = torch.isfinite(size) & (size > 0)
        rows.masked_fill_(~usable[:, None], 0.0)
        return usable


def largest(rows: Tensor) -> Tensor:
    """``(tasks,)``: the largest magnitude in each row, which is finite where the row is, and 0
    only where the row is: a sum of squares is not.
    """
    return torch.linalg.vector_norm(rows, torch.inf, dim=1)


def inner_products(rows: Tensor) -> Tensor:
    """Of the gradients ``(tasks, number of weights)`` with each other: ``(tasks, tasks)`` float64,
    in which no square of a float32 number vanishes or overflows.
    """
    total = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(COLUMNS, dim=1):
        part = part.double()
        total += part @ part.T
    return total
