"""A linear recurrence over long sequences, chunk by chunk, with its own backward pass."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNKS = (16, 64)
"""Fewest and most positions whose states are held at a time."""
CACHED = 2**19
"""States that are held at a time, where the number of positions allows: they stay in the cache."""
AT_ONCE = 2**15
"""On CPUs, states of one position that are computed together, of several samples if these are
small: torch spreads more over several cores, and their chunks would leave the cache.
"""


def chunked_scan(step: Tensor, value: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """``x_t = exp(step_t A) x_(t-1) + value_t B_t`` and ``y_t = C_t x_t``, with ``x_0 = 0``.

    Every state is computed as it is written here, one position after the other: no quotient and no
    logarithm of a decay, so nothing overflows that the recurrence does not. What is fast is all
    around it, done for a chunk of positions at a time, in memory that fits into the cache. The
    backward pass needs the states again, the last positions first. The forward pass keeps one state
    per chunk, and the backward pass computes the others from it once more. Time and memory grow
    linearly with the length; gradients have no gradients.

    Args:
        step, value: ``(length, batch, channels)``.
        A: ``(N, channels)``.
        B, C: ``(length, batch, N)``.

    Returns:
        y: ``(length, batch, channels)``.
    """
    samples = step.shape[1]
    if step.device.type == 'cpu':
        samples = min(samples, max(1, AT_ONCE // A.numel()))
    parts = zip(*(x.split(samples, dim=1) for x in (step, value, B, C)), strict=True)
    keep = torch.is_grad_enabled()
    outputs = [_ChunkedScan.apply(keep, A, *(x.contiguous() for x in part)) for part in parts]
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


class _Chunk:
    """Memory for one chunk of positions, used for all chunks in turn.

    Attributes:
        decay: ``(T, batch, N, channels)``, ``exp(step_t A)``, for a chunk of T positions.
        states: ``(T + 1, batch, N, channels)``, x before the chunk and at each of its positions.
    """

    def __init__(self, step: Tensor, A: Tensor) -> None:
        shape = step.shape[1], *A.shape
        self.step, self.A = step, A
        # Several times as fast as torch's exp on CPUs.
        self.rate = A * math.log2(math.e)
        shortest, longest = CHUNKS
        length = min(len(step), longest, max(shortest, CACHED // math.prod(shape)))
        self.decay = step.new_empty(length, *shape)
        self.states = step.new_zeros(length + 1, *shape)
        self.decays, self.state = self.decay.unbind(0), self.states.unbind(0)

    def parts(self) -> list[slice]:
        """The positions, chunk by chunk."""
        length = len(self.step)
        starts = range(0, length, len(self.decay))
        return [slice(start, min(start + len(self.decay), length)) for start in starts]

    def compute(self, positions: slice, value: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
        """Decays and states at some positions, from ``states[0]`` before them."""
        count = positions.stop - positions.start
        decay, states = self.decay[:count], self.states[1 : count + 1]
        torch.mul(self.step[positions, :, None], self.rate, out=decay)
        torch.exp2(decay, out=decay)
        torch.mul(value[positions, :, None], B[positions, :, :, None], out=states)
        before = self.state[0]
        for decay_t, state in zip(self.decays[:count], self.state[1:], strict=False):
            before = state.addcmul_(decay_t, before)
        return decay, states


class _ChunkedScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, keep: bool, A: Tensor, step: Tensor, value: Tensor, B: Tensor, C: Tensor
    ) -> Tensor:
        chunk = _Chunk(step, A)
        y = torch.empty_like(value)
        before = []
        for positions in chunk.parts():
            if keep:
                before.append(chunk.states[0].clone())
            _, states = chunk.compute(positions, value, B)
            _times(C[positions], states, y[positions])
            chunk.states[0] = states[-1]
        ctx.save_for_backward(A, step, value, B, C, *before)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, ...]:
        A, step, value, B, C, *before = ctx.saved_tensors
        grad = grad.contiguous()
        chunk = _Chunk(step, A)
        grad_step, grad_value, grad_B, grad_C = map(torch.empty_like, (step, value, B, C))
        grad_A = A.new_zeros(1, A.numel())
        # The gradient by each state, and what the chunk before is handed of it.
        g_all, product = torch.empty_like(chunk.decay), torch.empty_like(chunk.decay)
        ones = step.new_ones(1, len(product) * step.shape[1])
        handed = torch.zeros_like(chunk.states[0])
        gs = g_all.unbind(0)
        for positions, state in reversed(list(zip(chunk.parts(), before, strict=True))):
            chunk.states[0] = state
            decay, states = chunk.compute(positions, value, B)
            count = len(decay)
            g, scaled = g_all[:count], product[:count]
            torch.mul(grad[positions, :, None], C[positions, :, :, None], out=g)
            gs[count - 1].add_(handed)
            for t in range(count - 1, 0, -1):
                gs[t - 1].addcmul_(chunk.decays[t], gs[t])
            torch.mul(decay[0], g[0], out=handed)
            _times(grad[positions], states.mT, grad_C[positions])
            _times(value[positions], g.mT, grad_B[positions])
            _times(B[positions], g, grad_value[positions])
            # The gradient by step_t A is that by the state, times decay times the state before.
            by_exponent = decay.mul_(chunk.states[:count]).mul_(g)
            torch.mul(by_exponent, A, out=scaled)
            torch.sum(scaled, 2, out=grad_step[positions])
            torch.mul(by_exponent, step[positions, :, None], out=scaled)
            rows = scaled.view(-1, A.numel())
            grad_A.addmm_(ones[:, : len(rows)], rows)
        return None, grad_A.view_as(A), grad_step, grad_value, grad_B, grad_C


def _times(rows: Tensor, matrices: Tensor, out: Tensor) -> None:
    """Row vectors ``(T, batch, K)`` times matrices ``(T, batch, K, M)``, into ``(T, batch, M)``."""
    out = out.view(-1, 1, out.shape[2])
    torch.bmm(rows.flatten(0, 1)[:, None], matrices.flatten(0, 1), out=out)
