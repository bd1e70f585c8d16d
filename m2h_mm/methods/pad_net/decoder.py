"""PAD-Net's decoder: initial predictions and distillation at one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from m2h_mm.models.layers.conv import require_divisible
from m2h_mm.models.layers.distillation import MultiModalDistillationUnit, choose_main_tasks
from m2h_mm.models.layers.residual import Bottleneck
from m2h_mm.models.layers.scale_fusion import ScaleFusion, require_fine_to_coarse
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, TaskFeatures


@MODELS.register_module()
class PADNetDecoder(nn.Module):
    """PAD-Net (Prediction-and-Distillation Network, arXiv 1805.04409) as re-implemented beside
    MTI-Net, with multi-modal distillation module C of the paper.

    The pyramid is joined at its finest resolution, every task refines the result for itself and
    makes an initial prediction that is supervised (``aux``), and multi-modal distillation exchanges
    between the tasks. Its heads are ``PADNetHead``. Parameters:
    ``m2h-mm convert-checkpoint mti_net``.

    Auxiliary tasks: the tasks that ``main_tasks`` leaves out are distilled into the main ones, but
    not distilled themselves. Their map is the refined one, so that a ``LinearHead`` on it is the
    official model's initial prediction, and with ``model.aux_weight=1.0`` the total loss is the
    official one. With ``tasks``, a subset is asked for: nothing that only the others need is
    computed.

    Args:
        in_channels: channels C_i of the levels, fine to coarse. Filled in by the model.
        in_strides: their strides in pixels. Filled in by the model.
        tasks: names of the tasks. Filled in by the model.
        task_channels: channels of each task's output. Filled in by the model.
        channels: D of the tasks' maps, a multiple of 4. Default: 256.
        main_tasks: those whose maps are distilled. Default: all.

    Shapes: maps ``(N, C_i, h_i, w_i)`` to ``{task: (N, D, h_0, w_0)}``. In training ``aux`` holds
    the initial predictions ``{task: (N, K, h_0, w_0)}``, without the auxiliary tasks, whose head
    makes them.

    Raises:
        ValueError: levels that are not ordered fine to coarse, ``channels`` not a multiple of 4, no
            tasks, unknown or no main tasks.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float],
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        channels: int = 256,
        main_tasks: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        require_fine_to_coarse('PADNetDecoder', in_strides)
        require_divisible(
            'model.decoder (PADNetDecoder)',
            'channels',
            channels,
            4,
            'its bottleneck blocks work on a quarter of them',
        )
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        self.strides = dict.fromkeys(tasks, in_strides[0])
        self.tasks = tuple(tasks)
        self.main_tasks = choose_main_tasks(self.tasks, main_tasks)
        self.out_channels = dict.fromkeys(self.tasks, channels)
        self.fuse = ScaleFusion(in_channels)
        self.refine = nn.ModuleDict(
            {
                task: nn.Sequential(
                    Bottleneck(sum(in_channels), channels), Bottleneck(channels, channels)
                )
                for task in tasks
            }
        )
        self.predict = nn.ModuleDict(
            {task: nn.Conv2d(channels, task_channels[task], 1) for task in self.main_tasks}
        )
        self.distil = MultiModalDistillationUnit(channels, tasks, self.main_tasks)

    def forward(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """
        Args:
            features: the levels, fine to coarse.
            tasks: those asked for. Default: all.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        wanted_main = [task for task in wanted if task in self.main_tasks]
        sources = self.source_tasks(tasks)
        if features.by_task is None:
            fused = dict.fromkeys(sources, self.fuse(features.maps))
        else:
            fused = {task: self.fuse(features.of_task(task).maps) for task in sources}
        refined = {task: self.refine[task](fused[task]) for task in sources}
        maps = {task: refined[task] for task in wanted if task not in self.main_tasks}
        if wanted_main:
            maps.update(self.distil(refined, wanted_main))
        if not self.training:
            return TaskFeatures(maps)
        return TaskFeatures(
            maps, [{task: conv(refined[task]) for task, conv in self.predict.items()}]
        )

    def source_tasks(self, tasks: Sequence[str] | None = None) -> tuple[str, ...]:
        """Those whose own features it needs for ``tasks``, by default all."""
        if tasks is None or any(task in self.main_tasks for task in tasks):
            return self.tasks
        return tuple(tasks)
