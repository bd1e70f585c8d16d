"""M2H's decoder: per-task fusion, exchange between tasks, feature merging."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from m2h_mm.models.building import build_part
from m2h_mm.models.layers import PyramidFusion
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, TaskFeatures


@MODELS.register_module()
class M2HDecoder(nn.Module):
    """M2H (arXiv 2510.17363): each task fuses the pyramid for itself, an interaction lets the tasks exchange,
    a merger adds what is unique to a task.

    Interaction and merger are parts of their own: with another interaction, all else equal, this is the ablation of
    the exchange. ``interaction=dict(type='NoInteraction')`` is its control.

    M2H-small: ``separable=True``, and the same for neck, merger and heads; WMCA with ``reduction=4, pooling=2``.

    Args:
        in_channels: channels of the pyramid's levels, fine to coarse, all equal to ``channels``. Filled in by the
            model.
        tasks: names of the tasks. Filled in by the model.
        source_channels: channels of the backbone's maps, for the merger. Filled in by the model.
        channels: C of all maps inside. Default: 256.
        interaction: config of a module ``{task: (N, C, H, W)} -> same``. It is given ``channels`` and ``tasks``.
            Default: ``dict(type='WMCA')``.
        merger: config of a module ``(fused, attended, features, tasks) -> {task: (N, C, H, W)}``, or None. It is given
            ``channels``, ``source_channels`` and ``task_names``. Default: None.
        separable: depthwise separable convolutions in the fusion. Default: False.

    Shapes: L maps ``(N, C, h_i, w_i)``, the coarsest ``(N, C, h, w)``, to ``{task: (N, C, 2^L h, 2^L w)}``, at a stride
    of 28 / 16 pixels behind a token reassembly.

    Raises:
        ValueError: a pyramid with other channels than ``channels``, no tasks.
    """

    def __init__(self, in_channels: Sequence[int], tasks: Sequence[str], source_channels: Sequence[int],
                 channels: int = 256, interaction: dict | None = None, merger: dict | None = None,
                 separable: bool = False) -> None:
        super().__init__()
        if set(in_channels) != {channels}:
            raise ValueError(f'model.decoder (M2HDecoder): expected every level of its input to have '
                             f'channels={channels}, got {tuple(in_channels)}. Set out_channels of model.neck and '
                             'channels of model.decoder to the same number.')
        if not tasks:
            raise ValueError('model.decoder (M2HDecoder): model.tasks is empty. Name at least one task.')
        self.tasks = tuple(tasks)
        self.out_channels = dict.fromkeys(self.tasks, channels)
        self.fusion = nn.ModuleDict({
            task: PyramidFusion(channels, len(in_channels), separable) for task in self.tasks})
        self.interaction = build_part('model.decoder.interaction', interaction or dict(type='WMCA'), 'model.decoder',
                                      channels=channels, tasks=self.tasks)
        self.merger = None
        if merger is not None:
            self.merger = build_part('model.decoder.merger', merger, 'model.decoder', channels=channels,
                                     source_channels=tuple(source_channels), task_names=self.tasks)

    def forward(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """
        Args:
            features: the pyramid, fine to coarse.
            tasks: those asked for. Default: all. An interaction needs the maps of all tasks for any of them, unless it
                is ``independent``.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        needed = wanted if getattr(self.interaction, 'independent', False) else self.tasks
        fused = {task: self.fusion[task](features.maps) for task in needed}
        attended = self.interaction(fused)
        if self.merger is not None:
            return TaskFeatures(maps=self.merger(fused, attended, features, wanted))
        return TaskFeatures(maps={task: attended[task] for task in wanted})
