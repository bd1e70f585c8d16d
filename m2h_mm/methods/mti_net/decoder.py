"""MTI-Net's decoder: predictions, propagation and distillation at every scale of a pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from m2h_mm.methods.mti_net.feature_propagation import FeaturePropagation
from m2h_mm.models.layers.distillation import MultiModalDistillationUnit, choose_main_tasks
from m2h_mm.models.layers.residual import BasicBlock
from m2h_mm.models.layers.resize import resize
from m2h_mm.models.layers.scale_fusion import ScaleFusion, require_fine_to_coarse
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, TaskFeatures


@MODELS.register_module()
class MTINetDecoder(nn.Module):
    """MTI-Net (Multi-Scale Task Interaction Networks, arXiv 2001.06902).

    From the coarsest scale to the finest every task refines the backbone's map, together with what
    the feature propagation module of the coarser scale hands it, and makes a prediction that is
    supervised (``aux``). At every scale multi-modal distillation then exchanges between the tasks,
    and each task's scales are joined at the finest resolution. The last layer of the official head,
    a 1x1 convolution, is the head of the model here: ``LinearHead``.

    This is what the published checkpoints hold; the mask of the propagation differs from the
    paper's, see :class:`FeaturePropagation`. Parameters: ``m2h-mm convert-checkpoint mti_net``.

    Auxiliary tasks: the tasks that ``main_tasks`` leaves out are supervised at every scale and
    distilled into the main ones, but not distilled themselves. Their map is the refined one of the
    finest scale, so that a ``LinearHead`` on it is the official model's prediction at that scale,
    and with ``model.aux_weight=1.0`` the total loss is the official one. With ``tasks``, a subset
    is asked for: nothing that only the others need is computed.

    Args:
        in_channels: channels C_s of the S scales, fine to coarse, at least two. Filled in by the
            model.
        in_strides: their strides in pixels, growing. Filled in by the model.
        tasks: names of the T tasks. Filled in by the model.
        task_channels: channels of each task's output. Filled in by the model.
        main_tasks: those whose maps are distilled and joined. Default: all.

    Shapes: maps ``(N, C_s, h_s, w_s)`` to ``{task: (N, C_0 + ... + C_S-1, h_0, w_0)}``, ``(N, C_0,
    h_0, w_0)`` for an auxiliary task. In training ``aux`` holds the predictions ``{task: (N, K,
    h_s, w_s)}`` of every scale, fine to coarse; the finest without the auxiliary tasks, whose head
    makes them.

    Raises:
        ValueError: fewer than two scales, strides that do not grow, no tasks, unknown or no main
            tasks.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float],
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        main_tasks: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        require_fine_to_coarse('MTINetDecoder', in_strides)
        if len(set(in_strides)) != len(in_strides) or len(in_channels) < 2:
            raise ValueError(
                'model.decoder (MTINetDecoder): expected a pyramid of at least two scales, got '
                f'{len(in_channels)} maps of strides {tuple(in_strides)}. Behind a plain '
                "transformer put model.neck=dict(type='TokenReassembly')."
            )
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        self.strides = dict.fromkeys(tasks, in_strides[0])
        self.tasks = tuple(tasks)
        self.main_tasks = choose_main_tasks(self.tasks, main_tasks)
        self.out_channels = {
            task: sum(in_channels) if task in self.main_tasks else in_channels[0] for task in tasks
        }
        self.refine = nn.ModuleList(
            nn.ModuleDict(
                {
                    task: nn.Sequential(
                        BasicBlock(channels + carried, channels), BasicBlock(channels, channels)
                    )
                    for task in tasks
                }
            )
            for channels, carried in zip(in_channels, (*in_channels[1:], 0), strict=True)
        )
        self.predict = nn.ModuleList(
            nn.ModuleDict(
                {
                    task: nn.Conv2d(channels, task_channels[task], 1)
                    for task in (tasks if scale else self.main_tasks)
                }
            )
            for scale, channels in enumerate(in_channels)
        )
        # From scale s + 1 to scale s.
        self.propagate = nn.ModuleList(
            FeaturePropagation(channels, tasks) for channels in in_channels[1:]
        )
        self.distil = nn.ModuleList(
            MultiModalDistillationUnit(channels, tasks, self.main_tasks) for channels in in_channels
        )
        self.fuse = nn.ModuleDict({task: ScaleFusion(in_channels) for task in self.main_tasks})

    def forward(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """
        Args:
            features: the pyramid, fine to coarse.
            tasks: those asked for. Default: all.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        wanted_main = [task for task in wanted if task in self.main_tasks]
        refined = self.refine_scales(features, self.tasks if wanted_main else wanted)
        maps = {task: refined[0][task] for task in wanted if task not in self.main_tasks}
        if wanted_main:
            scales = [
                distil(found, wanted_main)
                for distil, found in zip(self.distil, refined, strict=True)
            ]
            maps.update(
                {task: self.fuse[task]([scale[task] for scale in scales]) for task in wanted_main}
            )
        if not self.training:
            return TaskFeatures(maps)
        return TaskFeatures(
            maps,
            [
                {task: conv(found[task]) for task, conv in predict.items()}
                for predict, found in zip(self.predict, refined, strict=True)
            ],
        )

    def source_tasks(self, tasks: Sequence[str] | None = None) -> tuple[str, ...]:
        """Those whose own features it needs for ``tasks``: all, as tasks exchange at each scale."""
        return self.tasks

    def refine_scales(
        self, features: Features, finest_tasks: Sequence[str]
    ) -> list[dict[str, Tensor]]:
        """The tasks' own maps ``{task: (N, C_s, h_s, w_s)}`` of every scale, fine to coarse.

        Args:
            features: the pyramid.
            finest_tasks: tasks needed at the finest scale; at the others, the propagation needs
                all.
        """
        refined = []
        carried = None
        for scale in reversed(range(len(self.in_channels))):
            found = {}
            for task in self.tasks if scale else finest_tasks:
                x = features.of_task(task).maps[scale]
                joined = (
                    x
                    if carried is None
                    else torch.cat([x, resize(carried[task], x.shape[-2:])], dim=1)
                )
                found[task] = self.refine[scale][task](joined)
            refined.insert(0, found)
            if scale:
                carried = self.propagate[scale - 1](found)
        return refined
