"""Blocks that the heads of M2H-MX share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.resize import resize, upsample2

MOST_GROUPS = 32


def group_norm(channels: int, most: int = MOST_GROUPS) -> nn.GroupNorm:
    """A group norm with as many groups as divide the channels, at most ``most``."""
    groups = next(groups for groups in range(max(most, 1), 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels)


def quadruple(x: Tensor, align_corners: bool = False) -> Tensor:
    """Bilinear ``(N, C, H, W)`` to ``(N, C, 4 H, 4 W)``."""
    return F.interpolate(x, scale_factor=4, mode='bilinear', align_corners=align_corners)


def norm_conv(
    in_channels: int, out_channels: int, kernel_size: int, bias: bool = True
) -> nn.Sequential:
    """A size-keeping convolution and a group norm over all channels: ``(N, C, H, W)`` to ``(N, D,
    H, W)``.
    """
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
    return nn.Sequential(conv, nn.GroupNorm(1, out_channels))


class NormResidualBlock(nn.Module):
    """``relu(GN(conv(relu(GN(conv(x))))) + x)``, 3x3 without bias, at most 32 groups.

    Shapes: ``(N, C, H, W)`` kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = group_norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = group_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + x)


class Prediction(nn.Module):
    """``conv1x1(gelu(conv3x3(x)))``: ``(N, C, H, W)`` to ``(N, K, H, W)``."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.gelu(self.conv1(x)))


class TaskFusion(nn.Module):
    """A task's pyramid from coarse to fine: the coarser result, twice as large with aligned
    corners, is added to each level, and a :class:`NormResidualBlock` follows.

    Args:
        channels: C.
        levels: L.

    Shapes: L maps ``(N, C, h_i, w_i)``, fine to coarse, to the same.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(NormResidualBlock(channels) for _ in range(levels))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        fused: list[Tensor] = []
        for x, block in reversed(list(zip(maps, self.blocks, strict=True))):
            if fused:
                # Of an odd number of rows, the coarser level has half, rounded down.
                x = x + resize(upsample2(fused[0]), x.shape[-2:])
            fused.insert(0, block(x))
        return fused
