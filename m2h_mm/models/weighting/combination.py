"""The base class of the weightings that combine the tasks' gradients of shared parameters."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .gradients import GradientWeighting, inner_products

# The backward pass makes the plain sum, and the rest is added to it: of a combined gradient that is
# much smaller little more than the rounding of that sum is left.
LEAST_SHARE = {torch.float32: 1e-4, torch.float64: 1e-12}
LEAST_SHARE_IN_HALF = 1e-2


class GradientCombination(GradientWeighting):
    """Gives the shared parameters ``sum_k c_k g_k``, with g_k the gradient of task k and factors c
    that a subclass finds from the inner products of the gradients.

    The factors are scaled so that equal weighting is the plain sum. Heads, and what else a single
    task depends on, get the gradient of their own loss unchanged, and so does the backbone, unless
    it is in ``shared``, the plain sum: all have the scale of a sum, whatever the method. The
    weighted losses are base weight times loss, with their value unchanged. The factors c are what
    is logged as ``w_<task>``, times the base weights: factors of gradients of shared parameters
    alone, not of the loss.

    A task whose gradient is zero (no labelled pixel) or not finite is left out, and the method sees
    the others; one task alone has its plain gradient. (A loss that is not finite stays in the sum,
    where the guard finds it.)

    In a distributed training the gradients of all frames are combined, as in one process with all
    of them. Where gradients are accumulated, each iteration is combined by itself. Clipping,
    optimizer and loss scaling see the combined gradients.

    The factors are found in float64 outside the device, which is asked once in a step. Where the
    combined gradient is so much smaller than the plain sum that it drowns in the rounding of that
    sum, a warning is given, once.

    Args:
        tasks: task names; filled in by the model.
        base_weights: task name to a constant factor on its loss; 1 for a task that is not named.
            Gradients are compared with it.
        shared: parts of the model whose shared parameters are looked at, as the names of its
            parameters begin. Memory and time grow with them, see :class:`GradientWeighting`.

    Raises:
        ValueError: see :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        super().__init__(tasks, base_weights, shared)
        self.register_buffer('current', torch.ones(len(self.tasks)), persistent=False)
        self._warned = False

    @abstractmethod
    def coefficients(self, products: np.ndarray, tasks: Sequence[int]) -> np.ndarray:
        """The factors of the gradients.

        Args:
            products: ``(t, t)`` float64, the gradients' inner products; none is zero, t is at least
                2.
            tasks: which tasks they are of, ascending.

        Returns:
            ``(t,)``.
        """

    def own_weights(self, losses: Mapping[str, Tensor]) -> Tensor:
        """``(len(tasks),)`` factors of the losses, which heads see too; the base weights."""
        return self.base

    def remember(self, rows: Tensor, usable: Tensor) -> Tensor:
        """What is combined: the gradients ``(len(tasks), number of weights)`` as they are."""
        return rows

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(
        self, losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter] = ()
    ) -> dict[str, Tensor]:
        own = dict(zip(self.tasks, self.own_weights(losses).unbind(), strict=True))
        weighted = {task: own[task] * loss for task, loss in losses.items()}
        if not self.learns_from(losses):
            return weighted
        device = self.base.device.type
        half = torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False):
            shared, rows = self.task_gradients(weighted, parameters)
            missing = self._missing(rows, half).split([part.numel() for part in shared])
        first = next(task for task, loss in weighted.items() if loss.requires_grad)
        weighted[first] = _AddGradients.apply(weighted[first], missing, *shared)
        return weighted

    @torch.no_grad()
    def _missing(self, rows: Tensor, half: bool) -> Tensor:
        """What the combined gradient has beyond the plain sum, which the backward pass adds.

        Args:
            rows: the tasks' gradients.
            half: whether that sum is made in half precision.
        """
        usable = self.usable_rows(rows)
        combined = self.remember(rows, usable)
        # The one time that the device is asked.
        found = torch.cat((inner_products(combined), usable[None].double())).cpu().numpy()
        products, present = found[:-1], np.flatnonzero(found[-1])
        factors = np.ones(len(self.tasks))
        if len(present) > 1:
            factors[present] = self.coefficients(products[np.ix_(present, present)], present)
            self._warn_of_rounding(products, factors, present, half)
        elif combined is not rows:
            combined = rows
        self.current = torch.as_tensor(factors).to(self.base, non_blocking=True)
        if combined is rows:
            return (self.current - 1) @ rows
        return (self.current * usable) @ combined - rows.sum(dim=0)

    def _warn_of_rounding(
        self, products: np.ndarray, factors: np.ndarray, present: np.ndarray, half: bool
    ) -> None:
        least = LEAST_SHARE_IN_HALF if half else LEAST_SHARE.get(self.base.dtype, 0.0)
        used = products[np.ix_(present, present)]
        plain = np.sqrt(np.abs(used.sum()))
        length = np.sqrt(np.abs(factors[present] @ used @ factors[present]))
        if length < least * plain and not self._warned:
            self._warned = True
            warnings.warn(
                f'model.weighting ({type(self).__name__}): the combined gradient is '
                f'{length / plain:.1g} of the plain sum, which is more than '
                f'{"half" if half else "single"} precision can tell from its rounding. The '
                "tasks' gradients differ much in size: bring them closer by "
                'model.weighting.base_weights or loss_weight, or train in float32.',
                stacklevel=2,
            )


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
