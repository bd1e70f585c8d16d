"""PCGrad: gradients of tasks without what they do against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .draws import Draws
from .gradients import GradientWeighting


@MODELS.register_module()
class PCGrad(GradientWeighting):
    """Projecting conflicting gradients (Yu et al., arXiv 2001.06782, alg. 1).

    The gradient of each task with respect to the shared parameters is projected, in random order,
    onto the normal plane of every other task's gradient that it conflicts with (negative inner
    product). What the shared parameters get is the sum of the projected gradients, exactly; heads,
    and what else a single task depends on, get their own gradient unchanged, and so does the
    backbone, unless it is in ``shared``, the plain sum.

    A projected sum is a sum with other factors: ``sum_k c_k g_k``. c_k of 1 says that nothing
    conflicts with task k, a larger one that others were projected onto the normal plane of its
    gradient. They are what is logged as ``w_<task>``, times the base weights, but factors of
    gradients of shared parameters alone, not of the loss: the weighted losses are base weight times
    loss, with their value unchanged.

    Each process of a distributed training projects the gradients of its own frames, and these are
    then averaged; where gradients are accumulated, each iteration is projected by itself. With one
    process and no accumulation it is the paper's algorithm. Clipping, optimizer and loss scaling
    see the projected gradients. Where a gradient is not finite, the plain sum is left as it is.

    Args:
        tasks: task names; filled in by the model.
        base_weights: task name to a constant factor on its loss; 1 for a task that is not named.
            Gradients are compared with it.
        shared: parts of the model whose shared parameters are projected, as the names of its
            parameters begin. Memory and time grow with them, see :class:`GradientWeighting`.
        seed: of the order; the same in all processes, and it goes on after resuming.

    Raises:
        ValueError: see :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
        seed: int = 0,
    ) -> None:
        super().__init__(tasks, base_weights, shared)
        self.draws = Draws(seed)
        self.register_buffer('current', torch.ones(len(self.tasks)), persistent=False)

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(
        self, losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter] = ()
    ) -> dict[str, Tensor]:
        base = dict(zip(self.tasks, self.base.unbind(), strict=True))
        weighted = {task: base[task] * loss for task, loss in losses.items()}
        if not self.learns_from(losses):
            return weighted
        with torch.autocast(self.base.device.type, enabled=False):
            shared, gradients = self.task_gradients(weighted, parameters)
            factors = self._factors(gradients @ gradients.T)
            usable = torch.isfinite(factors).all()
            self.current = torch.where(usable, factors, 1.0)
            # The backward pass adds the plain sum; this is what is missing to the projected one.
            missing = torch.where(usable, (factors - 1) @ gradients, 0.0).split(
                [part.numel() for part in shared]
            )
        first = next(task for task, loss in weighted.items() if loss.requires_grad)
        weighted[first] = _AddGradients.apply(weighted[first], missing, *shared)
        return weighted

    def _factors(self, products: Tensor) -> Tensor:
        """Of the tasks' gradients in the sum of the projected ones, from their inner products
        ``(tasks, tasks)``.

        A projected gradient stays a combination of the original ones, so that all of the algorithm
        happens in its coefficients.
        """
        generator = self.draws.next()
        units = torch.eye(len(self.tasks), device=products.device)
        total = torch.zeros_like(units[0])
        for own in range(len(self.tasks)):
            projected = units[own]
            for other in generator.permutation(len(self.tasks)):
                square = products[other, other]
                if other != own:
                    conflict = (projected @ products[:, other]).clamp(max=0)
                    projected = (
                        projected - conflict / torch.where(square > 0, square, 1.0) * units[other]
                    )
            total = total + projected
        return total


class _AddGradients(torch.autograd.Function):
    """A loss as it is, whose backward pass adds given gradients to parameters: whatever scales the
    loss (accumulation, loss scaling) scales them too, and distributed wrappers reduce them with the
    rest.
    """

    @staticmethod
    def forward(ctx, loss: Tensor, gradients: Sequence[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = [
            gradient.view_as(parameter)
            for gradient, parameter in zip(gradients, parameters, strict=True)
        ]
        return loss.clone()

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return upstream, None, *(upstream * gradient for gradient in ctx.gradients)
