"""A pyramid's levels joined at the resolution of its finest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .resize import resize


class ScaleFusion(nn.Module):
    """All levels resized to the finest and concatenated, a 1x1 convolution, batch norm, ReLU:
    HRNet's own head (HRNetV2, arXiv 1908.07919, figure 4b).

    Args:
        in_channels: channels C_i of the levels, fine to coarse.
        out_channels: D. Default: the sum of ``in_channels``, as in HRNet.

    Shapes: ``(N, C_i, h_i, w_i)`` to ``(N, D, h_0, w_0)``.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int | None = None) -> None:
        super().__init__()
        width = sum(in_channels) if out_channels is None else out_channels
        self.conv = nn.Conv2d(sum(in_channels), width, 1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        # The 1x1 convolution would commute with the resizing, but leave more channels to resize
        # than come in.
        finest, *coarser = maps
        levels = [finest, *(resize(x, finest.shape[-2:]) for x in coarser)]
        return F.relu(self.norm(self.conv(torch.cat(levels, dim=1))), inplace=True)


def require_fine_to_coarse(owner: str, in_strides: Sequence[float]) -> None:
    """Refuse levels that are not ordered from fine to coarse.

    Raises:
        ValueError: a level is finer than the one before it.
    """
    if list(in_strides) != sorted(in_strides):
        raise ValueError(
            f'model.decoder ({owner}): expected maps from fine to coarse, got strides '
            f'{tuple(in_strides)}. Let model.neck, or out_indices of model.backbone, yield them '
            'in this order.'
        )
