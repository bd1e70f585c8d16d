"""The selective scan of Mamba: a linear recurrence whose coefficients depend on the input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """Mamba's scan (Gu and Dao, arXiv 2312.00752, equations 2 and 4, and section 3.6).

    With N states per channel, ``x_0 = 0`` and ``dt = softplus(delta + delta_bias)``, for each
    position t in turn: ``x_t = exp(dt_t A) x_(t-1) + dt_t B_t u_t`` and ``y_t = C_t x_t + D u_t``;
    with z the result is ``y_t SiLU(z_t)``. As in the official code, B takes an Euler step where the
    paper holds the input for the time of a step.

    Args:
        u: input ``(batch, channels, length)``.
        delta: time steps ``(batch, channels, length)``.
        A: ``(channels, N)``, negative where the state is to fade.
        B, C: ``(batch, N, length)``, or ``(channels, N)`` where they are the same at each position.
        D: ``(channels,)``, the share of the input that goes past the states.
        z: gate ``(batch, channels, length)``.
        delta_bias: ``(channels,)``, added to ``delta``.
        delta_softplus: whether the time steps go through a softplus.

    Returns:
        ``(batch, channels, length)`` in the dtype of ``u``. Half precision is computed in float32,
        also under autocast.
    """
    dtype = u.dtype
    with torch.autocast(u.device.type, enabled=False):
        u, delta, A, B, C, D, z, delta_bias = (
            x.float() if x is not None and x.dtype in (torch.float16, torch.bfloat16) else x
            for x in (u, delta, A, B, C, D, z, delta_bias)
        )
        if delta_bias is not None:
            delta = delta + delta_bias[:, None]
        if delta_softplus:
            delta = F.softplus(delta)
        y = scan_by_steps(u, delta, A, B, C)
        if D is not None:
            y = y + D[:, None] * u
        if z is not None:
            y = y * F.silu(z)
        return y.to(dtype)


def scan_by_steps(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The recurrence as it is written, one position after the other.

    Shapes as in :func:`selective_scan`; ``delta`` are the finished time steps.
    """
    length = u.shape[2]
    B, C = (
        x.expand(length, 1, *x.shape) if x.ndim == 2 else x.permute(2, 0, 1)[:, :, None]
        for x in (B, C)
    )
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for t, (step, value) in enumerate(zip(delta.unbind(2), u.unbind(2), strict=True)):
        state = torch.exp(step[..., None] * A) * state + (step * value)[..., None] * B[t]
        outputs.append((state * C[t]).sum(2))
    return torch.stack(outputs, dim=2)
