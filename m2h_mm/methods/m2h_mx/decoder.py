"""M2H-MX's decoder: Mamba blocks from coarse to fine, and heads that see each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.methods.m2h_mx.layers import norm_conv
from m2h_mm.models.building import build_part, require_tasks
from m2h_mm.models.layers.register_mamba import RegisterMamba
from m2h_mm.models.layers.resize import resize
from m2h_mm.models.layers.scale_fusion import require_fine_to_coarse
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features, TaskFeatures


@MODELS.register_module()
class M2HMXDecoder(nn.Module):
    """M2H-MX (arXiv 2603.29236; "M2H-HMX v3" in its code) behind the pyramid.

    From the coarsest level to the finest, a :class:`RegisterMamba` block makes the map that
    all tasks share of the level and of the coarser shared map. A convolution of each task, added to
    what the task had at the coarser level, makes the task's pyramid of it.

    The heads look at each other, so they are parts of the decoder, whose maps are the tasks'
    outputs; ``model.heads`` are ``NoHead``. They run in alphabetical order, which for the four
    tasks is the official one: depth, edge, normals, semseg. A head sees of every other task the
    finest map, which a head that has run has replaced with its own. The maps are joined in the
    order of the model's tasks; official checkpoints want semseg, depth, normals, edge.

    Args:
        in_channels: channels of the pyramid's levels, all the same C. Filled in by the model.
        in_strides: their strides, fine to coarse. Filled in by the model.
        tasks: names of the tasks. Filled in by the model.
        task_channels: channels of each task's output. Filled in by the model.
        heads: task name to the config of its head, such as ``dict(type='M2HMXSemsegHead')``.
        state_size: of the Mamba blocks. Default: 32.
        drop_path_rate: probability in [0, 1) that a sample skips a branch of a Mamba block in
            training. Default: 0.1.
        context: what the gates of the blocks look at: ``'registers'``, the register tokens that
            :class:`M2HMXPyramid` hands on, or ``'mean'``, the mean of the coarsest level, behind a
            backbone without registers. Default: ``'registers'``.

    Shapes: L maps ``(N, C, h_i, w_i)`` to ``{task: (N, K, 4 h_0, 4 w_0)}``, K channels of the
    task's output. In training ``aux`` holds predictions of the levels between the coarsest and the
    finest, coarse to fine. ``details`` are those of the heads.

    Raises:
        ValueError: levels of different channels or not from fine to coarse, heads that are not
            those of the tasks, a rate outside [0, 1), an unknown ``context``; when run,
            ``'registers'`` where there are none of C channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[float],
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        heads: Mapping[str, dict],
        state_size: int = 32,
        drop_path_rate: float = 0.1,
        context: str = 'registers',
    ) -> None:
        super().__init__()
        require_fine_to_coarse('M2HMXDecoder', in_strides)
        require_tasks('model.decoder.heads', heads, tuple(tasks), complete=True)
        if len(set(in_channels)) != 1:
            raise ValueError(
                'model.decoder (M2HMXDecoder): expected levels of equal channels, got '
                f"{tuple(in_channels)}. Put model.neck=dict(type='M2HMXPyramid') or "
                "dict(type='Lateral') before it."
            )
        if context not in ('registers', 'mean'):
            raise ValueError(
                "model.decoder.context (M2HMXDecoder): expected 'registers' or 'mean', got "
                f'{context!r}.'
            )
        if not 0 <= drop_path_rate < 1:
            raise ValueError(
                'model.decoder.drop_path_rate (M2HMXDecoder): expected a probability in [0, 1), '
                f'got {drop_path_rate}.'
            )
        self.in_channels, self.in_strides = tuple(in_channels), tuple(in_strides)
        self.tasks, self.context = tuple(tasks), context
        self.out_channels = {task: task_channels[task] for task in tasks}
        self.strides = dict.fromkeys(tasks, in_strides[0] / 4)
        channels, levels = in_channels[0], len(in_channels)
        self.shared = nn.ModuleList(
            RegisterMamba(channels, state_size, drop_path_rate) for _ in in_channels
        )
        self.branches = nn.ModuleDict(
            {
                task: nn.ModuleList(
                    norm_conv(channels, channels, 3, bias=False) for _ in in_channels
                )
                for task in tasks
            }
        )
        self.heads = nn.ModuleDict(
            {
                task: build_part(
                    f'model.decoder.heads.{task}',
                    heads[task],
                    'model.decoder',
                    in_channels=channels,
                    out_channels=task_channels[task],
                    contexts=tuple(other for other in tasks if other != task),
                    levels=levels,
                )
                for task in sorted(tasks)
            }
        )

    def forward(self, features: Features, tasks: Sequence[str] | None = None) -> TaskFeatures:
        """
        Args:
            features: the pyramid, fine to coarse.
            tasks: those asked for. Default: all. A head that looks at other tasks needs the heads
                before it and the branches of all.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        running = self._needed_heads(wanted)
        mixing = any(self.heads[task].contexts for task in running)
        pyramids = self.run_branches(self.run_shared(features), self.tasks if mixing else running)
        contexts = {task: levels[0] for task, levels in pyramids.items()}
        outputs, details, aux = {}, {}, [{} for _ in self.shared[2:]]
        for task in running:
            found = self.heads[task](pyramids[task], contexts, outputs)
            outputs[task], contexts[task] = found.output, found.context
            if found.details:
                details[task] = found.details
            for predictions, prediction in zip(aux, found.aux, strict=False):
                predictions[task] = prediction
        return TaskFeatures(
            {task: outputs[task] for task in wanted}, aux if self.training else [], details
        )

    def run_shared(self, features: Features) -> list[Tensor]:
        """The maps that all tasks share, ``(N, C, h_i, w_i)``, fine to coarse."""
        vector = self._context_vector(features)
        found: list[Tensor] = []
        for x, block in reversed(list(zip(features.maps, self.shared, strict=True))):
            if found:
                x = x + resize(found[0], x.shape[-2:])
            found.insert(0, block(x, vector))
        return found

    def run_branches(
        self, shared: Sequence[Tensor], tasks: Sequence[str]
    ) -> dict[str, list[Tensor]]:
        """The pyramid of each of the tasks, ``(N, C, h_i, w_i)``, fine to coarse."""
        pyramids = {}
        for task in tasks:
            found: list[Tensor] = []
            for x, branch in reversed(list(zip(shared, self.branches[task], strict=True))):
                y = F.gelu(branch(x))
                found.insert(0, y + resize(found[0], y.shape[-2:]) if found else y)
            pyramids[task] = found
        return pyramids

    def _needed_heads(self, wanted: Sequence[str]) -> list[str]:
        """The heads to run, in their order, for the outputs that are wanted."""
        order = list(self.heads)
        mixing = [
            index
            for index, task in enumerate(order)
            if task in wanted and self.heads[task].contexts
        ]
        before = order[: mixing[-1]] if mixing else []
        return [task for task in order if task in wanted or task in before]

    def _context_vector(self, features: Features) -> Tensor:
        """``(N, C)``, one vector of each image."""
        if self.context == 'mean':
            return features.maps[-1].mean((2, 3))
        tokens = features.register_tokens
        if tokens is None or tokens[-1].shape[-1] != self.in_channels[-1]:
            raise ValueError(
                "model.decoder.context (M2HMXDecoder): 'registers' needs register tokens of "
                f'{self.in_channels[-1]} channels, got '
                f'{"none" if tokens is None else tokens[-1].shape[-1]}. Let '
                "model.neck=dict(type='M2HMXPyramid') hand on those of the backbone, or set "
                "model.decoder.context='mean'."
            )
        return tokens[-1].mean(1)
