"""Rotary position embedding of a grid of patches, as DINOv3 has it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RotaryEmbedding(nn.Module):
    """Angles by which queries and keys are turned, from each patch's place in its image.

    A patch's coordinates go from -1 to 1 along either axis, whatever the size of the image. Each is
    multiplied by ``2 pi / P_m`` for the periods ``P_m = base ** (4 m / D)``, m from 0 to D / 4 - 1:
    D / 4 angles from y, then as many from x.

    In train mode coordinates may be drawn anew in each call, the same for all images and blocks.
    First ``shift`` moves them, then ``jitter`` and ``rescale`` multiply them.

    Args:
        head_dims: D, channels of one attention head, a multiple of 4.
        base: ratio of the slowest rotation to the fastest, nearly. Default: 100.
        shift: a number from -shift to shift is added to each axis. Default: none.
        jitter: each axis is multiplied by a number from 1 / jitter to jitter, uniform in its
            logarithm. Default: none.
        rescale: both are multiplied by one such number. Default: none.
    """

    def __init__(
        self,
        head_dims: int,
        base: float = 100.0,
        shift: float | None = None,
        jitter: float | None = None,
        rescale: float | None = None,
    ) -> None:
        super().__init__()
        self.head_dims, self.base = head_dims, base
        self.shift, self.jitter, self.rescale = shift, jitter, rescale

    def periods(self, device: torch.device | None = None) -> Tensor:
        """``(D / 4,)`` float32."""
        quarter = self.head_dims // 4
        return self.base ** (torch.arange(quarter, device=device, dtype=torch.float32) / quarter)

    def forward(
        self, grid: tuple[int, int], others: int, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            grid: (rows, columns) of the patches.
            others: tokens in front of them, which are not turned.
            device: where the angles are wanted.

        Returns:
            Cosines and sines ``(others + rows * columns, D / 2)``, float32.
        """
        axes = [
            # The middle of each patch.
            (torch.arange(length, device=device, dtype=torch.float32) + 0.5) * (2 / length) - 1
            for length in grid
        ]
        if self.training:
            axes = self.drawn(axes)
        coordinates = torch.stack(torch.meshgrid(*axes, indexing='ij'), dim=-1)
        angles = coordinates.flatten(0, 1)[..., None] * (2 * math.pi / self.periods(device))
        angles = F.pad(angles.flatten(1), (0, 0, others, 0))
        return angles.cos(), angles.sin()

    def drawn(self, axes: list[Tensor]) -> list[Tensor]:
        """Coordinates (y, x) as a training sees them."""
        device = axes[0].device
        if self.shift is not None:
            moves = _uniform(2, self.shift, device)
            axes = [axis + move for axis, move in zip(axes, moves, strict=True)]
        if self.jitter is not None:
            factors = _uniform(2, math.log(self.jitter), device).exp()
            axes = [axis * factor for axis, factor in zip(axes, factors, strict=True)]
        if self.rescale is not None:
            factor = _uniform(1, math.log(self.rescale), device).exp()
            axes = [axis * factor for axis in axes]
        return axes


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn pairs of channels: the first of either half of a head, the second of either, and so on.

    Args:
        x: queries or keys ``(N, heads, L, D)``.
        cos: of the angles, ``(L, D / 2)``.
        sin: likewise.

    Returns:
        The same shape and dtype as ``x``; computed in the wider of both dtypes.
    """
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return turned.to(x.dtype)


def _uniform(count: int, limit: float, device: torch.device) -> Tensor:
    return torch.empty(count, device=device).uniform_(-limit, limit)
