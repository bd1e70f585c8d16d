"""M2H-MX's neck: a pyramid from the deepest map of a plain vision transformer, or from all."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.methods.m2h_mx.layers import norm_conv
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

# The levels that are made of another, by their place beside the backbone's own stride.
FROM_OTHERS = ('finest', 'finer', 'coarser')


@MODELS.register_module()
class M2HMXPyramid(nn.Module):
    """The adapter of M2H-MX (arXiv 2603.29236): four levels, each half as fine as the one before,
    and one vector of the whole image from the register tokens.

    The maps of a plain transformer have one size. Each is projected to C channels; from the deepest
    on, the sum of a map and what the deeper ones gave is convolved. The result is the level of the
    backbone's own stride; it is doubled twice, and once halved by a maximum.

    The official code takes the result of the deepest map alone, although it computes the others as
    well: it turns the list around and then takes its last entry. This is the default here, and the
    layers without effect are left out. ``layers='all'`` is what is evidently meant. The official
    checkpoints have weights for it, but they were never trained.

    Args:
        in_channels: channels C_i of the backbone's maps, shallow to deep. Filled in by the model.
        in_strides: their strides s in pixels, all the same. Filled in by the model.
        out_channels: C of all levels. Default: 256.
        layers: ``'deepest'``, as the official code, or ``'all'``, top-down over all maps. Default:
            ``'deepest'``.
        registers: whether the mean of the deepest map's register tokens is handed on, projected to
            C channels, for the gates of :class:`M2HMXDecoder`. Default: True.

    Shapes: maps ``(N, C_i, h, w)`` and ``register_tokens`` ``(N, R, C_i)`` to maps ``(N, C, 4 h, 4
    w)``, ``(N, C, 2 h, 2 w)``, ``(N, C, h, w)``, ``(N, C, h // 2, w // 2)`` of strides s / 4, s /
    2, s, 2 s, and as ``register_tokens`` of each one token ``(N, 1, C)``. ``source`` is the input.

    Raises:
        ValueError: maps of several strides, unknown ``layers``; when run, ``registers`` behind a
            backbone that has none, an image of less than two patches in height or width.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float],
        out_channels: int = 256,
        layers: str = 'deepest',
        registers: bool = True,
    ) -> None:
        super().__init__()
        if len(set(in_strides)) != 1:
            raise ValueError(
                'model.neck (M2HMXPyramid): expected the maps of a plain transformer, all of one '
                f'stride, got strides {tuple(in_strides)}. Behind a backbone with a pyramid of its '
                "own put model.neck=dict(type='Lateral')."
            )
        if layers not in ('deepest', 'all'):
            raise ValueError(
                f"model.neck.layers (M2HMXPyramid): expected 'deepest' or 'all', got {layers!r}."
            )
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        stride = in_strides[0]
        self.strides = (stride / 4, stride / 2, stride, stride * 2)
        self.out_channels = (out_channels,) * len(self.strides)
        used = in_channels if layers == 'all' else in_channels[-1:]
        self.project = nn.ModuleList(norm_conv(channels, out_channels, 1) for channels in used)
        self.fuse = nn.ModuleList(norm_conv(out_channels, out_channels, 3) for _ in used)
        self.refine = nn.ModuleDict(
            {name: norm_conv(out_channels, out_channels, 3) for name in FROM_OTHERS}
        )
        self.register_project = nn.Linear(in_channels[-1], out_channels) if registers else None

    def forward(self, features: Features) -> Features:
        middle = self.fuse_layers(features.maps[-len(self.project) :])
        finer = self.refine['finer'](self._double(middle))
        finest = self.refine['finest'](self._double(finer))
        coarser = self.refine['coarser'](F.max_pool2d(middle, 2))
        maps = (finest, finer, middle, coarser)
        return Features(maps, register_tokens=self._registers(features), source=features)

    def fuse_layers(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps ``(N, C_i, h, w)`` to one of C channels."""
        fused = None
        for x, project, fuse in reversed(list(zip(maps, self.project, self.fuse, strict=True))):
            projected = project(x)
            fused = fuse(projected if fused is None else projected + fused)
        return fused

    def _double(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=False)

    def _registers(self, features: Features) -> tuple[Tensor, ...] | None:
        if self.register_project is None:
            return None
        if features.register_tokens is None:
            raise ValueError(
                'model.neck (M2HMXPyramid): model.backbone yields no register tokens. Take one '
                'that has some (num_registers=4), or set model.neck.registers=False and '
                "model.decoder.context='mean'."
            )
        vector = self.register_project(features.register_tokens[-1].mean(1))
        return (vector[:, None],) * len(self.strides)
