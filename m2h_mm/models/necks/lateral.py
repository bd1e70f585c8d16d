"""Lateral projections: from a convolutional network's pyramid to one of equal channels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from m2h_mm.models.layers.conv import conv_layer
from m2h_mm.models.layers.resize import resize
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features


@MODELS.register_module()
class Lateral(nn.Module):
    """A 1x1 convolution for each level of a pyramid, as at the side of a feature pyramid network
    (arXiv 1612.03144, section 3). Nothing is added from level to level: a decoder such as M2H's
    does so for each task.

    Args:
        in_channels: channels C_i of the backbone's maps, fine to coarse. Filled in by the model.
        in_strides: their strides in pixels of the image. Filled in by the model.
        out_channels: channels C of every level. Default: 256.
        stride: bring every level to the size of the one with this stride, bilinearly, for a decoder
            that takes maps of one resolution, such as InvPT's. Default: each keeps its own.
        norm: a batch norm behind each convolution. Default: False.

    Shapes: ``(N, C_i, h_i, w_i)`` to ``(N, C, h_i, w_i)``, or with ``stride`` to ``(N, C, h, w)``.
    ``source`` of the result is the input.

    Raises:
        ValueError: a ``stride`` that no level has.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float],
        out_channels: int = 256,
        stride: float | None = None,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        if stride is not None and stride not in self.in_strides:
            raise ValueError(
                f'model.neck.stride (Lateral): expected one of {list(self.in_strides)}, the '
                f'strides of the backbone, got {stride}.'
            )
        self.stride = stride
        self.out_channels = (out_channels,) * len(self.in_channels)
        self.strides = self.in_strides if stride is None else (stride,) * len(self.in_strides)
        self.levels = nn.ModuleList(
            conv_layer(channels, out_channels, 1, norm=norm) for channels in in_channels
        )

    def forward(self, features: Features) -> Features:
        maps = tuple(level(x) for level, x in zip(self.levels, features.maps, strict=True))
        if self.stride is not None:
            size = maps[self.in_strides.index(self.stride)].shape[-2:]
            maps = tuple(resize(x, size) for x in maps)
        return Features(maps=maps, source=features)
