"""Token reassembly: from a plain transformer's equal-resolution maps to a pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import conv_layer
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

READOUTS = ('project', 'ignore')
SHRINK = (8, 4, 2, 1)  # embedding channels per channel of each level


@MODELS.register_module()
class TokenReassembly(nn.Module):
    """Multi-scale token reassembly of M2H (arXiv 2510.17363), after DPT's reassemble blocks.

    Level i reads the class token into each of the backbone's patch tokens, ``GELU(W [map; class] +
    b)``, projects them to ``mid_channels[i]``, resamples by 4, 2, 1 and 1/2 (transposed
    convolutions, nothing, a strided convolution) and ends in a 3x3 convolution to ``out_channels``.

    M2H-small: ``separable=True``.

    Args:
        in_channels: channels C_i of the backbone's four maps. Filled in by the model.
        in_strides: their strides in pixels of the image, all equal. Filled in by the model.
            Default: 14 throughout.
        out_channels: channels C of every level. Default: 256.
        mid_channels: channels of the four levels before the last convolution. Default: an eighth, a
            quarter, a half and all of ``in_channels``.
        readout: what becomes of the class token: ``'project'``, or ``'ignore'``, for backbones
            without one. Default:
            ``'project'``.
        separable: depthwise separable projections and last convolutions. Default: False.

    Shapes: four maps ``(N, C_i, h, w)``, with ``'project'`` also four class tokens ``(N, C_i)``, to
    four maps ``(N, C, 4 h, 4 w)``, ``(N, C, 2 h, 2 w)``, ``(N, C, h, w)``, ``(N, C, ceil(h / 2),
    ceil(w / 2))``. ``source`` of the result is the input.

    Raises:
        ValueError: not four levels, unequal strides, an unknown readout; in ``forward``, no class
            tokens to project.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float] = (14.0,) * 4,
        out_channels: int = 256,
        mid_channels: Sequence[int] | None = None,
        readout: str = 'project',
        separable: bool = False,
    ) -> None:
        super().__init__()
        if mid_channels is None:
            mid_channels = [
                channels // shrink for channels, shrink in zip(in_channels, SHRINK, strict=False)
            ]
        if not len(in_channels) == len(in_strides) == len(mid_channels) == 4:
            raise ValueError(
                'model.neck (TokenReassembly): expected four levels, got '
                f'in_channels={tuple(in_channels)}, in_strides={tuple(in_strides)}, '
                f'mid_channels={tuple(mid_channels)}. Let the backbone yield four blocks.'
            )
        if len(set(in_strides)) > 1:
            raise ValueError(
                'model.neck (TokenReassembly): expected maps of one stride, got '
                f'{tuple(in_strides)}. A backbone that yields a pyramid needs no token '
                'reassembly: remove the neck.'
            )
        if min(mid_channels) < 1:
            raise ValueError(
                'model.neck.mid_channels (TokenReassembly): expected positive numbers, got '
                f'{tuple(mid_channels)} for in_channels={tuple(in_channels)}. State mid_channels.'
            )
        if readout not in READOUTS:
            raise ValueError(
                f'model.neck.readout (TokenReassembly): expected one of {READOUTS}, got '
                f'{readout!r}.'
            )
        self.readout = readout
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        self.out_channels = (out_channels,) * 4
        self.strides = tuple(in_strides[0] * factor for factor in (0.25, 0.5, 1.0, 2.0))
        resamplers = (
            nn.ConvTranspose2d(mid_channels[0], mid_channels[0], 4, stride=4),
            nn.ConvTranspose2d(mid_channels[1], mid_channels[1], 2, stride=2),
            nn.Identity(),
            nn.Conv2d(mid_channels[3], mid_channels[3], 3, stride=2, padding=1),
        )
        self.levels = nn.ModuleList(
            ReassembleLevel(*channels, out_channels, resample, readout == 'project', separable)
            for *channels, resample in zip(in_channels, mid_channels, resamplers, strict=True)
        )

    def forward(self, features: Features) -> Features:
        cls_tokens = features.cls_tokens
        if self.readout == 'ignore':
            cls_tokens = (None,) * 4
        elif cls_tokens is None:
            raise ValueError(
                "model.neck.readout='project' (TokenReassembly) needs the backbone's class "
                "tokens, which this backbone does not yield. Set model.neck.readout='ignore'."
            )
        maps = tuple(
            level(x, token)
            for level, x, token in zip(self.levels, features.maps, cls_tokens, strict=True)
        )
        return Features(maps=maps, source=features)


class ReassembleLevel(nn.Module):
    """One level: readout, projection, resampling, 3x3 convolution.

    Args:
        in_channels, mid_channels, out_channels: channels of the map, of the resampled map, of the
            result.
        resample: the layer that changes the resolution, ``mid_channels`` to ``mid_channels``.
        readout: whether a class token is read into the map.
        separable: depthwise separable convolutions, except in ``resample``.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        resample: nn.Module,
        readout: bool,
        separable: bool,
    ) -> None:
        super().__init__()
        self.readout = nn.Linear(2 * in_channels, in_channels) if readout else None
        self.project = conv_layer(in_channels, mid_channels, 1, separable=separable)
        self.resample = resample
        self.out = conv_layer(mid_channels, out_channels, 3, bias=False, separable=separable)

    def reassemble(self, x: Tensor, cls_token: Tensor | None) -> Tensor:
        """The resampled map, before the last convolution."""
        if self.readout is not None:
            # Every position sees its own token beside the class token.
            x = torch.cat([x, cls_token[:, :, None, None].expand_as(x)], dim=1)
            x = F.gelu(self.readout(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return self.resample(self.project(x))

    def forward(self, x: Tensor, cls_token: Tensor | None = None) -> Tensor:
        return self.out(self.reassemble(x, cls_token))
