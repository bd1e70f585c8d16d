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

    The gate's mean over the upsampled map is taken before the upsampling, from which it follows.
    What is linear commutes: a 1x1 convolution that follows the block runs before it too, and
    M2H-small's two upsamplings are one.

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

    def forward(self, x: Tensor, final: nn.Conv2d | None = None) -> Tensor:
        """
        Args:
            x: the map.
            final: a 1x1 convolution to K channels that follows the block.

        Returns:
            ``(N, D, 2 H, 2 W)``, with ``final`` ``(N, K, 2 H, 2 W)``.
        """
        shortcut, y = self.shortcut(x), self.body(x)
        if self.separable:
            y = self.expand(y)
            y = torch.addcmul(shortcut, y, self.gate(mean_after_upsampling(y)))
            return upsample2(y if final is None else final(y))
        weight, bias = self.expand.weight, self.expand.bias
        # Each pixel becomes 2x2 of its own, so the mean passes the transposed convolution.
        gate = self.gate(F.linear(y.mean((2, 3)), weight.mean((2, 3)).t(), bias))
        if final is None:
            return torch.addcmul(upsample2(shortcut), self.expand(y), gate)
        # Gate and 1x1 convolution go into the weights of the transposed one, of each image its own.
        gated = final.weight.flatten(1) * gate.flatten(1)[:, None]  # (N, K, D)
        kernel = (gated @ weight.flatten(2).permute(2, 1, 0)[:, None]).permute(
            1, 2, 0, 3
        )  # (N, K, 2 * 2, D)
        expanded = (kernel.flatten(1, 2) @ y.flatten(2)).unflatten(2, y.shape[2:])
        return upsample2(final(shortcut) + (gated @ bias)[..., None, None]) + F.pixel_shuffle(
            expanded, 2
        )


def mean_after_upsampling(x: Tensor) -> Tensor:
    """The mean ``(N, C)`` of :func:`~m2h_mm.models.layers.resize.upsample2` of a map ``(N, C, H,
    W)``.
    """
    rows, columns = (_mean_weights(length, x.device) for length in x.shape[2:])
    weights = torch.outer(rows, columns).flatten().to(x.dtype)
    return (x.flatten(2) @ weights.expand(x.shape[0], 1, -1).transpose(1, 2)).flatten(1)


def _mean_weights(length: int, device: torch.device) -> Tensor:
    """What each of ``length`` samples contributes to the mean of them upsampled by 2 with aligned
    corners.
    """
    positions = torch.arange(2 * length, device=device) * ((length - 1) / (2 * length - 1))
    distances = (positions - torch.arange(length, device=device)[:, None]).abs()
    return (1 - distances).clamp(min=0).mean(1)
