"""M2H-small: where it differs from M2H."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import channel_attention, conv_bn_relu, mean_of_pixels, resize, upsample2
from .m2h import M2H, TASKS, ContextHead, MLTHead


class SeparableConv(nn.Module):
    """Depthwise convolution, then a pointwise one, nothing in between; the size is kept."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        bias: bool = False,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=in_channels,
            bias=bias,
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class SmallConv(nn.Module):
    """The wrapper around it that the official names know."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = SeparableConv(in_channels, out_channels, kernel_size, bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class SmallResidualUnit(nn.Module):
    """``x + conv(gelu(x))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.GELU(), SeparableConv(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class SmallFusionBlock(nn.Module):
    """One residual unit for both inputs. ``lateral`` changes nothing."""

    def __init__(self, channels: int, lateral: bool = True) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, channels, 1)
        self.res_unit = SmallResidualUnit(channels)

    def forward(self, x: Tensor, lateral: Tensor | None = None) -> Tensor:
        if lateral is not None:
            x = x + self.res_unit(resize(lateral, x.shape[2:]))
        return self.project(upsample2(self.res_unit(x)))


class SmallRestoration(nn.Module):
    """Grouped 1x1 convolutions, one layer for the gates, a narrower network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_orig = nn.Conv2d(channels, channels, 1, groups=4, bias=False)
        self.conv_attn = nn.Conv2d(channels, channels, 1, groups=4, bias=False)
        self.conv_uniq = nn.Conv2d(channels, channels, 1, groups=4, bias=False)
        self.gate_fc = nn.Sequential(
            nn.Conv2d(3 * channels, 3 * channels, 1, bias=False), nn.Sigmoid()
        )
        self.ffn = nn.Sequential(
            nn.Conv2d(channels, 3 * channels // 2, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(3 * channels // 2, channels, 1, bias=False),
        )
        self.out_conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, attended: Tensor, original: Tensor, unique: Tensor) -> Tensor:
        o, a = self.conv_orig(original), self.conv_attn(attended)
        u = resize(self.conv_uniq(unique), o.shape[2:], align_corners=True)
        g_o, g_a, g_u = self.gate_fc(mean_of_pixels(torch.cat([o, a, u], dim=1))).chunk(3, dim=1)
        f = g_o * o + g_a * a + g_u * u
        return self.out_conv(f + self.ffn(f))


class SmallASPP(nn.Module):
    """One dilated branch, half the channels in every branch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 2
        self.aspp1 = conv_bn_relu(nn.Conv2d(channels, width, 1, bias=False), width)
        self.aspp2 = conv_bn_relu(SeparableConv(channels, width, 3, dilation=6), width)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, width, 1, bias=False),
            nn.GroupNorm(1, width),
            nn.ReLU(),
        )
        self.project = conv_bn_relu(nn.Conv2d(3 * width, channels, 1, bias=False), channels)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        return self.project(torch.cat([self.aspp1(x), self.aspp2(x), pooled], dim=1))


class SmallUpsampleBlock(nn.Module):
    """Bilinear instead of transposed upsampling, grouped 1x1 convolutions after it."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = SeparableConv(in_channels, out_channels, 3)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = SeparableConv(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.refine_conv = nn.Conv2d(out_channels, out_channels, 1, groups=4, bias=False)
        self.residual = nn.Conv2d(in_channels, out_channels, 1, groups=4, bias=False)
        self.channel_attn = channel_attention(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        y = self.refine_conv(upsample2(y))
        return y * self.channel_attn(y) + self.residual(upsample2(x))


class SmallRefinement(nn.Module):
    """``x + relu(conv(x))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(SeparableConv(channels, channels, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class SmallContextHead(ContextHead):
    blocks = (SmallASPP, SmallUpsampleBlock, SmallRefinement)


class SmallMLTHead(MLTHead):
    """See :class:`MLTHead`. The cross-task attention works at a quarter of the channels and half
    the resolution.
    """

    conv, fusion_block, upsample_block = SmallConv, SmallFusionBlock, SmallUpsampleBlock
    restoration, context_head = SmallRestoration, SmallContextHead
    attention_share = 4

    def __init__(
        self,
        embed_dim: int = 384,
        channels: int = 96,
        num_classes: int = 40,
        min_depth: float = 1e-3,
    ) -> None:
        super().__init__(embed_dim, channels, num_classes, min_depth)
        width = channels // self.attention_share
        self.pre_attn_proj = nn.ModuleDict({task: nn.Conv2d(channels, width, 1) for task in TASKS})
        self.post_attn_proj = nn.ModuleDict({task: nn.Conv2d(width, channels, 1) for task in TASKS})

    def exchange(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        pooled = {task: F.max_pool2d(self.pre_attn_proj[task](maps[task]), 2) for task in TASKS}
        attended = super().exchange(pooled)
        return {task: self.post_attn_proj[task](upsample2(attended[task])) for task in TASKS}


class M2HSmall(M2H):
    head_type = SmallMLTHead
