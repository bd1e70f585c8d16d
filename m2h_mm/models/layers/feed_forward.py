"""The feed-forward network of transformers, and what keeps its memory small."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class MLP(nn.Module):
    """Two linear layers with a GELU between, on tokens ``(N, L, C)``."""

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.fc2 = nn.Linear(hidden_dims, embed_dims)

    def forward(self, tokens: Tensor) -> Tensor:
        return gelu_linear(self.fc1(tokens), self.fc2)


def gelu_linear(x: Tensor, linear: nn.Linear) -> Tensor:
    """``linear(gelu(x))``. For the backward pass x is kept and not GELU's output, which is computed
    anew.

    Args:
        x: ``(..., C)``.
        linear: a layer of D x C weights.

    Returns:
        ``(..., D)``. It has no second derivative.
    """
    if not torch.is_grad_enabled():
        return linear(F.gelu(x))
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
