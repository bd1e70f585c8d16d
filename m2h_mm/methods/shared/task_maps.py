"""The decoder of methods that live in the backbone: it hands on what the backbone found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, TaskFeatures


@MODELS.register_module()
class TaskMapsDecoder(nn.Module):
    """Each task's map is the one that the backbone yields for it, without any parameters.

    For backbones that are given the tasks and return ``Features.task_maps``, one map per task.

    Args:
        tasks: names of the tasks. Filled in by the model.
        task_map_channels: channels C of the backbone's map of each task. Filled in by the model,
            from the backbone's attribute of that name.

    Shapes: ``Features.task_maps`` ``{task: (N, C, h, w)}`` as they are.

    Raises:
        ValueError: the backbone yields no map for one of the tasks, or several.
    """

    def __init__(self, tasks: Sequence[str], task_map_channels: Mapping[str, int]) -> None:
        super().__init__()
        missing = [task for task in tasks if task not in task_map_channels]
        if missing:
            raise ValueError(
                f'model.decoder (TaskMapsDecoder): model.backbone yields no map for {missing}, '
                f'only for {list(task_map_channels)}. Take another decoder.'
            )
        several = [task for task in tasks if not isinstance(task_map_channels[task], int)]
        if several:
            raise ValueError(
                'model.decoder (TaskMapsDecoder): model.backbone yields several maps for '
                f'{several}, expected one. Join them in the backbone, or take another decoder.'
            )
        self.tasks = tuple(tasks)
        self.out_channels = {task: task_map_channels[task] for task in tasks}

    def forward(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """
        Args:
            features: of a backbone that knows the tasks.
            tasks: those asked for. Default: all.
        """
        wanted = self.tasks if tasks is None else tasks
        return TaskFeatures({task: features.task_maps[task] for task in wanted})
