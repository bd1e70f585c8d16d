"""GGFM: global gated feature merging."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import GROUPS, conv_layer, require_divisible
from m2h_mm.models.layers.fusion import FusionBlock
from m2h_mm.models.layers.resize import resize
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features


@MODELS.register_module()
class GGFM(nn.Module):
    """Global gated feature merging of M2H (arXiv 2510.17363).

    For each of its tasks, three maps are weighted by gates that come from their global means, and
    summed: the fused map that the interaction was given, the interaction's result, and a unique
    feature that is made from the backbone's last map for that task alone.

    The default is the official code: GGFM follows WMCA, for depth and segmentation only
    (``tasks=('semseg', 'depth')`` in the configs); other tasks keep the interaction's result. The
    paper's equation 4 runs both in parallel for all tasks and joins them by a 1x1 convolution:
    ``parallel=True``. The equation leaves open what GGFM sees then; here it merges the fused map
    F_t and the unique feature U_t, so that it does not depend on WMCA, and ``out_t =
    conv1x1([WMCA(F)_t; GGFM(F_t, U_t)])``.

    M2H-small: ``separable=True``.

    Args:
        channels: C of the tasks' maps. Filled in by the decoder.
        source_channels: channels of the backbone's maps, the last of which is used. Filled in by
            the decoder.
        task_names: the decoder's tasks. Filled in by the decoder.
        tasks: those that are merged. Default: all.
        parallel: the paper's arrangement, see above. Default: False.
        separable: M2H-small's layers. Default: False.
        reduce_first: bring the backbone's map to C channels before anything else is done with it,
            where it has many more: at 320 channels and C = 64 that is a fifth of the parameters.
            Default: False, as the official code.
        norm: batch norms behind the convolutions of the unique feature and behind the merged map.
            Not with ``separable``. Default: False, as the official code.

    Shapes: ``{task: (N, C, H, W)}`` twice, and the backbone's last map ``(N, C_source, h, w)``, to
    ``{task: (N, C, H, W)}``.

    Raises:
        ValueError: a task that the decoder does not have; channels that separable layers cannot
            split.
    """

    def __init__(
        self,
        channels: int,
        source_channels: Sequence[int],
        task_names: Sequence[str],
        tasks: Sequence[str] | None = None,
        parallel: bool = False,
        separable: bool = False,
        reduce_first: bool = False,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.tasks = tuple(task_names if tasks is None else tasks)
        unknown = sorted(set(self.tasks) - set(task_names))
        if unknown:
            raise ValueError(
                f'model.decoder.merger.tasks (GGFM): the decoder has no {unknown}, only '
                f'{list(task_names)}. Leave them out, or add them to model.tasks.'
            )
        streams = ('fused', 'unique') if parallel else ('fused', 'attended', 'unique')
        self.unique = nn.ModuleDict(
            {
                task: UniqueFeature(source_channels[-1], channels, separable, reduce_first, norm)
                for task in self.tasks
            }
        )
        self.merge = nn.ModuleDict(
            {task: GatedMerge(channels, streams, separable, norm) for task in self.tasks}
        )
        self.join = (
            nn.ModuleDict({task: nn.Conv2d(2 * channels, channels, 1) for task in self.tasks})
            if parallel
            else None
        )

    def forward(
        self,
        fused: dict[str, Tensor],
        attended: dict[str, Tensor],
        features: Features,
        tasks: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """
        Args:
            fused: the maps that the interaction was given.
            attended: its result.
            features: what the decoder was given.
            tasks: those asked for. Default: all in ``attended``.

        Returns:
            A map for each task asked for.
        """
        return {
            task: self._merge(task, fused[task], attended[task], features.of_task(task))
            if task in self.tasks
            else attended[task]
            for task in (attended if tasks is None else tasks)
        }

    def _merge(self, task: str, fused: Tensor, attended: Tensor, features: Features) -> Tensor:
        # Without a neck they are the backbone's own.
        source = features if features.source is None else features.source
        unique = self.unique[task](source.maps[-1])
        if self.join is None:
            return self.merge[task](fused=fused, attended=attended, unique=unique)
        return self.join[task](
            torch.cat([attended, self.merge[task](fused=fused, unique=unique)], dim=1)
        )


class UniqueFeature(nn.Module):
    """What one task takes from the backbone's last map by itself.

    Args:
        in_channels: channels C_in of the backbone's map.
        channels: C.
        separable: layers of M2H-small.
        reduce_first: go to C channels in the first layer instead of the third.
        norm: batch norms behind the convolutions.

    Shapes: ``(N, C_in, h, w)`` to ``(N, C, 2 ceil(h / 2), 2 ceil(w / 2))``.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        separable: bool = False,
        reduce_first: bool = False,
        norm: bool = False,
    ) -> None:
        super().__init__()
        width = channels if reduce_first else in_channels
        self.project = conv_layer(in_channels, width, 1, separable=separable, norm=norm)
        self.shrink = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.conv = conv_layer(width, channels, 3, separable=separable, norm=norm)
        self.fusion = FusionBlock(channels, lateral=False, separable=separable, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.fusion(F.gelu(self.conv(self.shrink(self.project(x)))))


class GatedMerge(nn.Module):
    """Sum of several maps, weighted by gates from their global means, and a feed-forward network.

    Args:
        channels: C.
        streams: names of the maps; the first gives the resolution.
        separable: M2H-small's: grouped 1x1 convolutions of the maps, one layer for the gates, a
            narrower network.
        norm: a batch norm behind the result.

    Shapes: one ``(N, C, h, w)`` per stream, by name, to ``(N, C, H, W)`` of the first.

    Raises:
        ValueError: ``separable`` and channels that 4 groups cannot split.
    """

    def __init__(
        self, channels: int, streams: Sequence[str], separable: bool = False, norm: bool = False
    ) -> None:
        super().__init__()

        def conv(in_channels: int, out_channels: int, groups: int = 1) -> nn.Conv2d:
            return nn.Conv2d(in_channels, out_channels, 1, groups=groups, bias=False)

        gates = len(streams) * channels
        if separable:
            require_divisible(
                'model.decoder.merger (GGFM)',
                'channels',
                channels,
                GROUPS,
                'convolutions with 4 groups',
            )
            hidden = 3 * channels // 2
            self.gate = nn.Sequential(conv(gates, gates), nn.Sigmoid())
        else:
            hidden = 4 * channels
            self.gate = nn.Sequential(
                conv(gates, channels), nn.ReLU(), conv(channels, gates), nn.Sigmoid()
            )
        self.streams = nn.ModuleDict(
            {name: conv(channels, channels, GROUPS if separable else 1) for name in streams}
        )
        self.ffn = nn.Sequential(
            conv(channels, hidden), nn.ReLU(inplace=True), conv(hidden, channels)
        )
        self.out = conv(channels, channels)
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, **maps: Tensor) -> Tensor:
        projected = [conv(maps[name]) for name, conv in self.streams.items()]
        projected = [resize(x, projected[0].shape[-2:], align_corners=True) for x in projected]
        means = torch.cat([x.mean((2, 3), keepdim=True) for x in projected], dim=1)
        gates = self.gate(means).chunk(len(projected), dim=1)
        merged = projected[0] * gates[0]
        for x, gate in zip(projected[1:], gates[1:], strict=True):
            merged = torch.addcmul(merged, x, gate)
        return self.norm(self.out(merged + self.ffn(merged)))
