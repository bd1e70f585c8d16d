"""What M2H's decoder and heads are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def upsample2(x: Tensor) -> Tensor:
    """Bilinear, twice the size, corners aligned."""
    return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)


def resize(x: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Bilinear to ``size`` (H, W)."""
    return F.interpolate(x, size=tuple(size), mode='bilinear', align_corners=align_corners)


def mean_of_pixels(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` to ``(N, C, 1, 1)``."""
    return x.mean((2, 3), keepdim=True)


class Conv(nn.Module):
    """A size-keeping convolution in the wrapper that the official names know."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def conv_bn_relu(conv: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


def channel_attention(channels: int) -> nn.Sequential:
    """One factor in (0, 1) per channel: ``(N, C, H, W)`` to ``(N, C, 1, 1)``."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, channels // 4, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(channels // 4, channels, 1, bias=False),
        nn.Sigmoid(),
    )


class ResidualUnit(nn.Module):
    """``x + conv2(relu(conv1(relu(x))))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv(channels, channels, 3, bias=False)
        self.conv2 = Conv(channels, channels, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class FusionBlock(nn.Module):
    """Adds a finer level, doubles the resolution; the 1x1 convolution comes after the upsampling."""

    def __init__(self, channels: int, lateral: bool = True) -> None:
        super().__init__()
        self.project = Conv(channels, channels, 1)
        if lateral:
            self.res_conv_unit1 = ResidualUnit(channels)
        self.res_conv_unit2 = ResidualUnit(channels)

    def forward(self, x: Tensor, lateral: Tensor | None = None) -> Tensor:
        if lateral is not None:
            x = x + self.res_conv_unit1(resize(lateral, x.shape[2:]))
        return self.project(upsample2(self.res_conv_unit2(x)))


class UniqueFeature(nn.Module):
    """What one task takes from the backbone's last map by itself."""

    def __init__(
        self,
        embed_dim: int,
        width: int,
        channels: int,
        conv: type[nn.Module],
        fusion_block: type[nn.Module],
    ) -> None:
        super().__init__()
        self.reassemble = nn.Module()
        self.reassemble.projects = conv(embed_dim, width, 1)
        self.reassemble.resize_layers = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.conv_proj = conv(width, channels, 3)
        self.fusion_block = fusion_block(channels, lateral=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reassemble.resize_layers(self.reassemble.projects(x))
        return self.fusion_block(F.gelu(self.conv_proj(x)))


class Restoration(nn.Module):
    """Original, attended and unique features, weighted by gates from their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_orig = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv_attn = nn.Conv2d(channels, channels, 1, bias=False)
        self.conv_uniq = nn.Conv2d(channels, channels, 1, bias=False)
        self.gate_fc = nn.Sequential(
            nn.Conv2d(3 * channels, channels, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels, 3 * channels, 1, bias=False),
            nn.Sigmoid(),
        )
        self.ffn = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(4 * channels, channels, 1, bias=False),
        )
        self.out_conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, attended: Tensor, original: Tensor, unique: Tensor) -> Tensor:
        o, a = self.conv_orig(original), self.conv_attn(attended)
        u = resize(self.conv_uniq(unique), o.shape[2:], align_corners=True)
        g_o, g_a, g_u = self.gate_fc(mean_of_pixels(torch.cat([o, a, u], dim=1))).chunk(3, dim=1)
        f = g_o * o + g_a * a + g_u * u
        return self.out_conv(f + self.ffn(f))


class ASPP(nn.Module):
    """Parallel dilated convolutions and the global mean, joined by a 1x1 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()

        def dilated(dilation: int) -> nn.Sequential:
            conv = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
            return conv_bn_relu(conv, channels)

        self.aspp1 = conv_bn_relu(nn.Conv2d(channels, channels, 1, bias=False), channels)
        self.aspp2, self.aspp3, self.aspp4 = dilated(6), dilated(12), dilated(18)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.GroupNorm(1, channels),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d(5 * channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        joined = torch.cat(
            [self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x), pooled], dim=1
        )
        return F.relu(self.bn1(self.conv1(joined)))


class UpsampleBlock(nn.Module):
    """``(N, C, H, W)`` to ``(N, D, 2 H, 2 W)``; the shortcut's 1x1 convolution comes after its
    upsampling.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = nn.Sequential(
            *conv_bn_relu(nn.Conv2d(in_channels, out_channels, 3, padding=1), out_channels),
            *conv_bn_relu(nn.Conv2d(out_channels, out_channels, 3, padding=1), out_channels),
            nn.ConvTranspose2d(out_channels, out_channels, 2, stride=2),
        )
        self.residual = nn.Conv2d(in_channels, out_channels, 1)
        self.channel_attn = channel_attention(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.upsample(x)
        return y * self.channel_attn(y) + self.residual(upsample2(x))


class Refinement(nn.Module):
    """``x + relu(conv2(relu(conv1(x))))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Conv(channels, channels, 3)
        self.conv2 = Conv(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.conv2(F.relu(self.conv1(x))))
