"""Fusion of a pyramid from coarse to fine, after RefineNet and DPT, as in M2H."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .conv import SeparableConv2d, conv_layer
from .resize import resize, upsample2


class ResidualUnit(nn.Module):
    """``x + conv(relu(conv(relu(x))))``, 3x3 without bias. Shapes: ``(N, C, H, W)`` kept.

    Args:
        channels: C.
        norm: batch norms behind the convolutions.
    """

    def __init__(self, channels: int, norm: bool = False) -> None:
        super().__init__()
        self.conv1 = conv_layer(channels, channels, 3, bias=False, norm=norm)
        self.conv2 = conv_layer(channels, channels, 3, bias=False, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x)), inplace=True))


class SeparableResidualUnit(nn.Module):
    """``x + separable_conv(gelu(x))``, 3x3 without bias, of M2H-small. Shapes: ``(N, C, H, W)``
    kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = SeparableConv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(F.gelu(x))


class FusionBlock(nn.Module):
    """Adds a finer level to what comes from the coarser ones and doubles the resolution.

    ``x + lateral_unit(resize(lateral))``, then a residual unit, bilinear upsampling and a 1x1
    convolution.

    Args:
        channels: C of input and output.
        lateral: whether a second input is added.
        separable: the block of M2H-small: separable residual units, and one and the same for both
            inputs.
        upsample: whether the resolution doubles.
        norm: batch norms behind the convolutions; the 1x1 convolution then comes before the
            upsampling, which is a quarter of its work.

    Shapes: x ``(N, C, H, W)``, lateral ``(N, C, h, w)``, result ``(N, C, 2 H, 2 W)``, without
    ``upsample`` ``(N, C, H, W)``.
    """

    def __init__(
        self,
        channels: int,
        lateral: bool = True,
        separable: bool = False,
        upsample: bool = True,
        norm: bool = False,
    ) -> None:
        super().__init__()
        if norm and separable:
            raise ValueError(
                "norm=True: M2H-small's separable layers have none. Leave out norm or separable."
            )
        self.upsample, self.norm = upsample, norm
        self.unit = SeparableResidualUnit(channels) if separable else ResidualUnit(channels, norm)
        self.lateral_unit = ResidualUnit(channels, norm) if lateral and not separable else None
        # M2H-small's projection is not one of the layers that get Kaiming's initialisation.
        self.project = (
            nn.Conv2d(channels, channels, 1)
            if separable
            else conv_layer(channels, channels, 1, norm=norm)
        )

    def forward(self, x: Tensor, lateral: Tensor | None = None) -> Tensor:
        if lateral is not None:
            unit = self.unit if self.lateral_unit is None else self.lateral_unit
            x = x + unit(resize(lateral, x.shape[-2:]))
        x = self.unit(x)
        if self.norm:
            x = self.project(x)
            return upsample2(x) if self.upsample else x
        return self.project(upsample2(x) if self.upsample else x)


class PyramidFusion(nn.Module):
    """One task's fusion: the levels are added from coarse to fine, the resolution doubling at each.

    Args:
        channels: C of all levels.
        num_levels: L.
        separable: layers of M2H-small.
        upsample_last: whether the resolution doubles once more behind the finest level.
        norm: batch norms behind the convolutions.

    Shapes: maps fine to coarse ``(N, C, h_i, w_i)``, coarsest ``(N, C, h, w)``; result ``(N, C, 2^L
    h, 2^L w)``, without ``upsample_last`` half as high and wide; not negative.
    """

    def __init__(
        self,
        channels: int,
        num_levels: int = 4,
        separable: bool = False,
        upsample_last: bool = True,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            FusionBlock(
                channels,
                lateral=index > 0,
                separable=separable,
                upsample=upsample_last or index < num_levels - 1,
                norm=norm,
            )
            for index in range(num_levels)
        )
        self.project = conv_layer(channels, channels, 3, separable=separable, norm=norm)

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        coarsest, *finer = reversed(maps)
        x = self.blocks[0](coarsest)
        for block, lateral in zip(self.blocks[1:], finer, strict=True):
            x = block(x, lateral)
        return F.relu(self.project(x), inplace=True)
