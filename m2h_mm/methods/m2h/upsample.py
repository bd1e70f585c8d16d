"""Learned upsampling of M2H's heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import GROUPS, SeparableConv2d, require_divisible
from m2h_mm.models.layers.resize import upsample2


class ChannelGate(nn.Module):
    """One factor in (0, 1) per channel from the map's mean: ``(N, C)`` to ``(N, C, 1, 1)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.excite = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, mean: Tensor) -> Tensor:
        return self.excite(F.relu(self.squeeze(mean[..., None, None]))).sigmoid()


class UpsampleBlock(nn.Module):
    """Two 3x3 convolutions, upsampling by 2 and a channel gate, beside a bilinearly upsampled
    shortcut.

    ``y * gate(mean(y)) + conv1(upsample(x))`` with ``y = expand(body(x))``; the body is twice a 3x3
    convolution, batch norm and ReLU, and ``expand`` doubles the resolution.

    Args:
        in_channels, out_channels: channels C and D.
        separable: M2H-small's block: depthwise separable convolutions, bilinear upsampling instead
            of a transposed convolution, grouped 1x1 convolutions, no biases.

    Shapes: ``(N, C, H, W)`` to ``(N, D, 2 H, 2 W)``.

    Raises:
        ValueError: a channel count that the gate or the grouped convolutions cannot split in four.
    """

    def __init__(self, in_channels: int, out_channels: int, separable: bool = False) -> None:
        super().__init__()
        require_divisible(
            'UpsampleBlock',
            'out_channels',
            out_channels,
            4,
            'the channel gate reduces them four times',
        )
        self.separable = separable
        if separable:
            require_divisible(
                'UpsampleBlock', 'in_channels', in_channels, GROUPS, 'convolutions with 4 groups'
            )
            convs = [
                SeparableConv2d(in_channels, out_channels, 3),
                SeparableConv2d(out_channels, out_channels, 3),
            ]
            self.expand = nn.Conv2d(out_channels, out_channels, 1, groups=GROUPS, bias=False)
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, groups=GROUPS, bias=False)
        else:
            convs = [
                nn.Conv2d(in_channels, out_channels, 3, padding=1),
                nn.Conv2d(out_channels, out_channels, 3, padding=1),
            ]
            self.expand = nn.ConvTranspose2d(out_channels, out_channels, 2, stride=2)
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)
        self.body = nn.Sequential(
            *(
                layer
                for conv in convs
                for layer in (conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
            )
        )
        self.gate = ChannelGate(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y = self.expand(upsample2(y) if self.separable else y)
        return torch.addcmul(self.shortcut(upsample2(x)), y, self.gate(y.mean((2, 3))))
