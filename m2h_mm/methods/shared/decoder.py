"""The plain multi-task baseline: one map for all tasks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from m2h_mm.models.layers.scale_fusion import ScaleFusion, require_fine_to_coarse
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, TaskFeatures


@MODELS.register_module()
class SharedDecoder(nn.Module):
    """Hard parameter sharing: the levels are joined at the finest resolution, and every task's head
    sees the same map.

    The control of all decoders: nothing but the heads belongs to a task. With one task it is the
    single-task baseline.

    Args:
        in_channels: channels C_i of the levels, fine to coarse. Filled in by the model.
        in_strides: their strides in pixels. Filled in by the model.
        tasks: names of the tasks. Filled in by the model.
        channels: D of the joined map. Default: the sum of ``in_channels``, as in HRNet's own head.

    Shapes: maps ``(N, C_i, h_i, w_i)`` to ``{task: (N, D, h_0, w_0)}``, the same tensor for every
    task, unless the backbone has adapters of each task.

    Raises:
        ValueError: levels that are not ordered fine to coarse, no tasks.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float],
        tasks: Sequence[str],
        channels: int | None = None,
    ) -> None:
        super().__init__()
        require_fine_to_coarse('SharedDecoder', in_strides)
        if not tasks:
            raise ValueError(
                'model.decoder (SharedDecoder): model.tasks is empty. Name at least one task.'
            )
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        self.strides = dict.fromkeys(tasks, in_strides[0])
        self.tasks = tuple(tasks)
        self.fuse = ScaleFusion(in_channels, channels)
        self.out_channels = dict.fromkeys(self.tasks, self.fuse.conv.out_channels)

    def forward(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """
        Args:
            features: the levels, fine to coarse.
            tasks: those asked for. Default: all.
        """
        wanted = self.source_tasks(tasks)
        if features.by_task is None:
            return TaskFeatures(dict.fromkeys(wanted, self.fuse(features.maps)))
        return TaskFeatures({task: self.fuse(features.of_task(task).maps) for task in wanted})

    def source_tasks(self, tasks: Sequence[str] | None = None) -> tuple[str, ...]:
        """Those whose own features it needs for ``tasks``, by default all."""
        return self.tasks if tasks is None else tuple(tasks)
