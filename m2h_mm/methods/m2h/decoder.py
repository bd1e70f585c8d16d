"""M2H's decoder: per-task fusion, exchange between tasks, feature merging."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.building import build_part
from m2h_mm.models.layers.conv import conv_layer
from m2h_mm.models.layers.fusion import PyramidFusion
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, TaskFeatures


@MODELS.register_module()
class M2HDecoder(nn.Module):
    """M2H (arXiv 2510.17363): each task fuses the pyramid for itself, an interaction lets the tasks
    exchange, a merger adds what is unique to a task.

    Interaction and merger are parts of their own: with another interaction, all else equal, this is
    the ablation of the exchange. ``interaction=dict(type='NoInteraction')`` is its control.

    M2H-small: ``separable=True``, and the same for neck, merger and heads; WMCA with ``reduction=4,
    pooling=2``. M2H-fast, this project's own: ``shared_fusion=True, upsample_last=False``, see
    ``configs/m2h``.

    Args:
        in_channels: channels of the pyramid's levels, fine to coarse, all equal to ``channels``.
            Filled in by the model.
        in_strides: their strides in pixels, each twice the one before. Filled in by the model.
        tasks: names of the tasks. Filled in by the model.
        source_channels: channels of the backbone's maps, for the merger. Filled in by the model.
        channels: C of all maps inside. Default: 256.
        interaction: config of a module ``{task: (N, C, H, W)} -> same``. It is given ``channels``
            and ``tasks``. Default: ``dict(type='WMCA')``.
        merger: config of a module ``(fused, attended, features, tasks) -> {task: (N, C, H, W)}``,
            or None. It is given ``channels``, ``source_channels`` and ``task_names``. Default:
            None.
        separable: depthwise separable convolutions in the fusion. Default: False.
        shared_fusion: one fusion for all tasks, and a 3x3 convolution for each behind it, instead
            of a fusion for each. Default: False.
        upsample_last: whether the fusion doubles the resolution once more behind the pyramid's
            finest level, as the official code does. Without, the maps have a quarter of the pixels.
            Default: True.
        norm: batch norms behind the fusion's convolutions, of which M2H has none anywhere before
            the heads; they are this project's own. Not with ``separable``. Default: False.

    Shapes: L maps ``(N, C, h_i, w_i)``, the coarsest ``(N, C, h, w)``, to ``{task: (N, C, 2^L h,
    2^L w)}``, at a stride of 28 / 16 pixels behind a token reassembly; without ``upsample_last``
    half as high and wide, 28 / 8 pixels.

    Raises:
        ValueError: a pyramid with other channels than ``channels`` or other strides, no tasks.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float],
        tasks: Sequence[str],
        source_channels: Sequence[int],
        channels: int = 256,
        interaction: dict | None = None,
        merger: dict | None = None,
        separable: bool = False,
        shared_fusion: bool = False,
        upsample_last: bool = True,
        norm: bool = False,
    ) -> None:
        super().__init__()
        if set(in_channels) != {channels}:
            raise ValueError(
                'model.decoder (M2HDecoder): expected every level of its input to have '
                f'channels={channels}, got {tuple(in_channels)}. Set out_channels of model.neck '
                'and channels of model.decoder to the same number.'
            )
        if any(coarse != 2 * fine for fine, coarse in pairwise(in_strides)):
            raise ValueError(
                'model.decoder (M2HDecoder): expected a pyramid, fine to coarse, whose strides '
                f'double from level to level, got {tuple(in_strides)}. Behind a plain '
                "transformer put model.neck=dict(type='TokenReassembly')."
            )
        if not tasks:
            raise ValueError(
                'model.decoder (M2HDecoder): model.tasks is empty. Name at least one task.'
            )
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        self.tasks = tuple(tasks)
        self.out_channels = dict.fromkeys(self.tasks, channels)
        levels = len(in_channels)
        finest = in_strides[0] / (2 if upsample_last else 1)
        self.strides = dict.fromkeys(self.tasks, finest)

        def pyramid_fusion() -> PyramidFusion:
            return PyramidFusion(channels, levels, separable, upsample_last, norm)

        self.stem = pyramid_fusion() if shared_fusion else None
        self.fusion = nn.ModuleDict(
            {
                task: conv_layer(channels, channels, 3, separable=separable, norm=norm)
                if shared_fusion
                else pyramid_fusion()
                for task in self.tasks
            }
        )
        self.interaction = build_part(
            'model.decoder.interaction',
            interaction or dict(type='WMCA'),
            'model.decoder',
            channels=channels,
            tasks=self.tasks,
        )
        self.merger = None
        if merger is not None:
            self.merger = build_part(
                'model.decoder.merger',
                merger,
                'model.decoder',
                channels=channels,
                source_channels=tuple(source_channels),
                task_names=self.tasks,
            )

    def forward(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """
        Args:
            features: the pyramid, fine to coarse.
            tasks: those asked for. Default: all. An interaction needs the maps of all tasks for any
                of them, unless it is ``independent``.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        fused = self._fuse(features, self.source_tasks(tasks))
        attended = self.interaction(fused)
        if self.merger is not None:
            return TaskFeatures(maps=self.merger(fused, attended, features, wanted))
        return TaskFeatures(maps={task: attended[task] for task in wanted})

    def source_tasks(self, tasks: Sequence[str] | None = None) -> tuple[str, ...]:
        """Those whose own features it needs for ``tasks``, by default all."""
        independent = getattr(self.interaction, 'independent', False)
        return self.tasks if tasks is None or not independent else tuple(tasks)

    def _fuse(self, features: Features, tasks: Sequence[str]) -> dict[str, Tensor]:
        maps = {task: features.of_task(task).maps for task in tasks}
        if self.stem is None:
            return {task: self.fusion[task](maps[task]) for task in tasks}
        if features.by_task is None:
            stems = dict.fromkeys(tasks, self.stem(features.maps))
        else:
            stems = {task: self.stem(maps[task]) for task in tasks}
        return {task: F.relu(self.fusion[task](stems[task]), inplace=True) for task in tasks}
