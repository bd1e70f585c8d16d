"""Feed-forward networks that keep less for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from m2h_mm.models.layers.feed_forward import MLP, FeedForward

from .checks import is_exactly
from .rewrites import rewrites


@rewrites(MLP, inference=False)
class FastMLP(MLP):
    """``MLP`` that keeps the GELU's input alone, which is as large as its output."""

    def forward(self, tokens: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or not is_exactly(self.fc2, nn.Linear):
            return super().forward(tokens)
        return gelu_linear(self.fc1(tokens), self.fc2)


@rewrites(FeedForward, inference=False)
class FastFeedForward(FeedForward):
    """``FeedForward`` that keeps the GELU's input alone, which is as large as its output."""

    def forward(self, tokens: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or len(self) != 3:
            return super().forward(tokens)
        first, activation, last = self
        if not (is_exactly(activation, nn.GELU) and is_exactly(last, nn.Linear)):
            return super().forward(tokens)
        return gelu_linear(first(tokens), last)


def gelu_linear(x: Tensor, linear: nn.Linear) -> Tensor:
    """``linear(gelu(x))``. The backward pass computes the GELU again from x.

    Args:
        x: ``(..., C)``.
        linear: a layer of D x C weights.

    Returns:
        ``(..., D)``. It has no second derivative.
    """
    bias = None if linear.bias is None else linear.bias.to(x.dtype)
    return _GELULinear.apply(x, linear.weight.to(x.dtype), bias)


class _GELULinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(F.gelu(x), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = of_weight = of_bias = None
        rows = gradient.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            of_weight = rows.t() @ F.gelu(x).flatten(0, -2)
        if ctx.needs_input_grad[2]:
            of_bias = rows.sum(0)
        if ctx.needs_input_grad[0]:
            of_x = torch.ops.aten.gelu_backward(gradient @ weight, x)
        return of_x, of_weight, of_bias
