"""The selective scan of Mamba: a linear recurrence whose coefficients depend on the input."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from importlib.util import find_spec

import torch
from mmengine.logging import print_log
from torch import Tensor
from torch.nn import functional as F

from .chunked_scan import chunked_scan


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

    There are four ways to the same numbers: on CUDA devices the kernel of ``mamba_ssm``, where that
    package is installed; otherwise :func:`chunked_scan`; in an export, torch's operator of a loop;
    and :func:`scan_by_steps` where B or C are constant, and in a trace for TorchScript.

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

    Raises:
        ValueError: other shapes.
    """
    _check(u, A, B, C, D, delta=delta, z=z, delta_bias=delta_bias)
    inputs = u, delta, A, B, C, D, z, delta_bias
    # Devices without arithmetic, on which operations are counted, know no autocast.
    autocast = torch.amp.is_autocast_available(u.device.type)
    with torch.autocast(u.device.type, enabled=False) if autocast else nullcontext():
        single = (None if x is None else _at_least_single(x) for x in inputs)
        return _scan(*single, delta_softplus).to(u.dtype)


def _scan(*inputs: Tensor | bool | None) -> Tensor:
    constant = any(x.ndim == 2 for x in inputs[3:5])
    # In two steps: torch 2.6 does not know is_exporting.
    if torch.compiler.is_compiling() and torch.compiler.is_exporting():
        return scan_with(scan_by_steps if constant else scan_for_export, *inputs)
    return _scan_eagerly(constant, *inputs)


@torch.compiler.disable
def _scan_eagerly(constant: bool, *inputs: Tensor | bool | None) -> Tensor:
    if inputs[0].is_cuda and inputs[0].dtype == torch.float32:
        kernel = mamba_kernel()
        if kernel is not None:
            return kernel(*inputs)
    by_steps = constant or torch.jit.is_tracing()
    return scan_with(scan_by_steps if by_steps else chunked_scan, *inputs)


@cache
def mamba_kernel() -> Callable[..., Tensor] | None:
    """``selective_scan_fn`` of the package ``mamba_ssm``, or None where it is not installed."""
    if find_spec('mamba_ssm') is None:
        return None
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    except ImportError as error:
        print_log(
            f'mamba_ssm is installed, but cannot be imported ({error}); the selective scan is '
            'computed without its kernel.',
            'current',
            logging.WARNING,
        )
        return None
    return selective_scan_fn


def scan_with(
    recurrence: Callable[..., Tensor],
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """:func:`selective_scan` with one of the forms of its recurrence: what is done at each position
    alone, before and behind it.

    Args:
        recurrence: :func:`chunked_scan`, :func:`scan_by_steps` or :func:`scan_for_export`.
    """
    # Channels last, as linear layers leave them: of a Mamba block u alone is copied.
    u, delta = (x.transpose(1, 2).contiguous() for x in (u, delta))
    if delta_bias is not None:
        delta = delta + delta_bias
    if delta_softplus:
        delta = F.softplus(delta)
    per_position = (x.permute(2, 0, 1) if x.ndim == 3 else x.t() for x in (B, C))
    y = recurrence(
        delta.transpose(0, 1), (delta * u).transpose(0, 1), A.t().contiguous(), *per_position
    ).transpose(0, 1)
    if D is not None:
        y = torch.addcmul(y, u, D)
    if z is not None:
        y = y * F.silu(z.transpose(1, 2).contiguous())
    return y.transpose(1, 2)


def scan_by_steps(step: Tensor, value: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The recurrence as it is written, one position after the other: the yardstick of the others.

    Arguments are those of :func:`chunked_scan`; B and C may also be ``(N, channels)``, the same at
    each position.
    """
    A = A.t().contiguous()
    B, C = (x.t().expand(len(step), 1, *A.shape) if x.ndim == 2 else x[:, :, None] for x in (B, C))
    state = value.new_zeros(value.shape[1], *A.shape)
    outputs = []
    for dt, v, b, c in zip(step[..., None], value[..., None], B, C, strict=True):
        state = torch.exp(dt * A) * state + v * b
        outputs.append((state * c).sum(2))
    return torch.stack(outputs)


def scan_for_export(step: Tensor, value: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The recurrence as torch's operator of a loop, which ONNX knows as ``Scan``: a few nodes,
    whatever the length, which need not be known.

    Arguments are those of :func:`chunked_scan`.
    """
    from torch._higher_order_ops.scan import scan  # slow to import, rarely needed

    def one_position(state: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        dt, v, b, c = inputs
        state = torch.exp(dt[:, None] * A) * state + v[:, None] * b[:, :, None]
        return state, torch.matmul(c[:, None], state)[:, 0]

    state = value.new_zeros(value.shape[1], *A.shape)
    return scan(one_position, state, (step, value, B, C))[1]


def _at_least_single(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _check(u: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, **others: Tensor) -> None:
    (batch, channels, length), states = u.shape, A.shape[1]
    expected = dict(A=(channels, states), D=(channels,), delta_bias=(channels,))
    for name, x in dict(A=A, B=B, C=C, D=D, **others).items():
        shape = expected.get(name, tuple(u.shape))
        if name in ('B', 'C'):
            shape = (channels, states) if x.ndim == 2 else (batch, states, length)
        if x is not None and tuple(x.shape) != shape:
            raise ValueError(
                f'selective_scan: expected {name} of shape {shape} with u of {tuple(u.shape)} and '
                f'{states} states, got {tuple(x.shape)}.'
            )
