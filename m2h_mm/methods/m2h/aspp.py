"""Atrous spatial pyramid pooling as in M2H's depth and segmentation heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import SeparableConv2d, require_divisible


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: parallel dilated convolutions and the global mean, joined by
    a 1x1 convolution.

    Args:
        channels: C of input and output.
        separable: M2H-small's, with one dilated branch (6) instead of three (6, 12, 18), which is
            depthwise separable, and C/2 channels per branch.

    Shapes: ``(N, C, H, W)`` kept.

    Raises:
        ValueError: ``separable`` and an odd number of channels.
    """

    def __init__(self, channels: int, separable: bool = False) -> None:
        super().__init__()
        width = channels
        if separable:
            require_divisible('ASPP', 'channels', channels, 2, 'separable=True halves them')
            width = channels // 2
        convs = [nn.Conv2d(channels, width, 1, bias=False)]
        if separable:
            convs.append(SeparableConv2d(channels, width, 3, dilation=6))
        else:
            convs.extend(
                nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation, bias=False)
                for dilation in (6, 12, 18)
            )
        self.branches = nn.ModuleList(
            nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)) for conv in convs
        )
        # Batch statistics of one value per channel would be void for a batch of one, hence the
        # group norm.
        self.pool = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.GroupNorm(1, width), nn.ReLU()
        )
        self.fuse = nn.Conv2d((len(convs) + 1) * width, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pool(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[2:])
        joined = torch.cat([*(branch(x) for branch in self.branches), pooled], dim=1)
        return F.relu(self.norm(self.fuse(joined)), inplace=True)
