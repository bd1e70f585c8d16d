"""Cross-task Mamba: maps scanned in four directions, each task's own and one of all tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.mamba import init_time_steps
from m2h_mm.models.layers.selective_scan import selective_scan
from m2h_mm.registry import MODELS

DIRECTIONS = 4


@MODELS.register_module()
class CrossTaskMamba(nn.Module):
    """The cross-task Mamba block of MTMamba (Lin et al., ECCV 2024, arXiv 2407.02228).

    A map of all tasks is made, and it and each task's map go through a :class:`ScannedFeatures`,
    which hears the whole map. A gate that depends on the task's map decides at each pixel and inner
    channel how much the task takes from what all say. With LN layer norms over the channels of a
    pixel:

    - ``u_t = LN_t(x_t)`` and ``z_t = scanned_t(u_t)``, of E inner channels
    - ``z = scanned(LN(sum_t linear_t(u_t)))``
    - ``g_t = sigmoid(linear_t(u_t))``
    - ``y_t = x_t + linear_t(g_t z_t + (1 - g_t) z)``

    The order of the tasks does not matter. Time and memory are linear in the area and in the number
    of tasks T, with ``4 (T + 1) E N`` states per pixel. The last layers start at zero: an untrained
    exchange changes nothing.

    Read were abstracts and introductions of MTMamba and of MTMamba++ (arXiv 2408.15101), which
    calls the block F-CTM, and descriptions of VMamba's block (arXiv 2401.10166), on which both
    build; the paper's equations were not at hand, and details may differ. Decided here: E is C, not
    2 C, so that maps of a quarter of the image's resolution are affordable; directions share A
    and D of the recurrence; the last layers start at zero.

    Training: ``A_log`` is meant to have no weight decay; in a config
    ``optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'A_log': dict(decay_mult=0.0)}))``.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.
        expansion: E per channel. Default: 1.
        state_size: N, states per inner channel. Default: 16.

    Shapes: ``{task: (N, C, H, W)}`` kept.

    Raises:
        ValueError: ``expansion`` or ``state_size`` that leaves no inner channel or no state.
    """

    def __init__(
        self, channels: int, tasks: Sequence[str], expansion: float = 1, state_size: int = 16
    ) -> None:
        super().__init__()
        inner = int(expansion * channels)
        if inner < 1 or state_size < 1:
            raise ValueError(
                'model.decoder.interaction (CrossTaskMamba): expected an expansion that leaves at '
                f'least one of {channels} channels and a state_size of at least 1, got '
                f'{expansion=} and {state_size=}.'
            )
        self.tasks = tuple(tasks)
        self.norms = nn.ModuleDict({task: nn.LayerNorm(channels) for task in self.tasks})
        self.gather = nn.ModuleDict({task: nn.Linear(channels, channels) for task in self.tasks})
        self.shared_norm = nn.LayerNorm(channels)
        self.shared = ScannedFeatures(channels, inner, state_size)
        self.own = nn.ModuleDict(
            {task: ScannedFeatures(channels, inner, state_size) for task in self.tasks}
        )
        self.gate = nn.ModuleDict({task: nn.Linear(channels, inner) for task in self.tasks})
        self.out = nn.ModuleDict({task: nn.Linear(inner, channels) for task in self.tasks})
        for layer in self.out.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        tokens = {task: self.norms[task](maps[task].permute(0, 2, 3, 1)) for task in self.tasks}
        gathered = sum(self.gather[task](x) for task, x in tokens.items())
        shared = self.shared(self.shared_norm(gathered))
        exchanged = {}
        for task, x in tokens.items():
            own, gate = self.own[task](x), self.gate[task](x).sigmoid()
            mixed = torch.lerp(shared, own, gate.to(own.dtype))
            exchanged[task] = maps[task] + self.out[task](mixed).permute(0, 3, 1, 2)
        return exchanged


class ScannedFeatures(nn.Module):
    """MTMamba's features of a map that hear all of it: linear to E inner channels, depthwise 3x3
    convolution, SiLU, the selective scan in four directions, whose results are added up, and a
    layer norm.

    Time steps, B and C are each direction's own linear functions of the scan's input; A and D are
    the same for all, so that one scan runs the four.

    Args:
        channels: C.
        inner_channels: E.
        state_size: N, states per inner channel.

    Shapes: ``(N, H, W, C)`` to ``(N, H, W, E)``.
    """

    def __init__(self, channels: int, inner_channels: int, state_size: int) -> None:
        super().__init__()
        rank = math.ceil(channels / 16)
        self.sizes = (rank, state_size, state_size)
        self.in_proj = nn.Linear(channels, inner_channels)
        self.conv = nn.Conv2d(inner_channels, inner_channels, 3, padding=1, groups=inner_channels)
        self.x_proj = nn.ModuleList(
            nn.Linear(inner_channels, sum(self.sizes), bias=False) for _ in range(DIRECTIONS)
        )
        self.dt_proj = nn.ModuleList(nn.Linear(rank, inner_channels) for _ in range(DIRECTIONS))
        for layer in self.dt_proj:
            init_time_steps(layer)
        states = torch.arange(1.0, state_size + 1)
        self.A_log = nn.Parameter(states.log().repeat(inner_channels, 1))
        self.D = nn.Parameter(torch.ones(inner_channels))
        self.norm = nn.LayerNorm(inner_channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = F.silu(self.conv(self.in_proj(x).permute(0, 3, 1, 2)))
        selected = []
        sequences = scan_directions(x.permute(0, 2, 3, 1))
        for u, x_proj, dt_proj in zip(sequences, self.x_proj, self.dt_proj, strict=True):
            delta, B, C = x_proj(u).split(self.sizes, dim=2)
            # The bias is added apart, so that autocast leaves its precision alone.
            selected.append((u, F.linear(delta, dt_proj.weight) + dt_proj.bias, B, C))
        u, delta, B, C = (torch.cat(x).transpose(1, 2) for x in zip(*selected, strict=True))
        y = selective_scan(u, delta, -torch.exp(self.A_log), B, C, self.D, delta_softplus=True)
        return self.norm(merge_directions(y.transpose(1, 2), height, width))


def scan_directions(x: Tensor) -> list[Tensor]:
    """A map ``(N, H, W, E)`` as four sequences of pixels ``(N, H W, E)``, the cross-scan of VMamba:
    row by row, column by column, and both from the end.
    """
    rows, columns = x.flatten(1, 2), x.transpose(1, 2).flatten(1, 2)
    return [rows, columns, rows.flip(1), columns.flip(1)]


def merge_directions(y: Tensor, height: int, width: int) -> Tensor:
    """The inverse: ``(4 N, H W, E)``, direction by direction, each put back to its place and all
    added up, ``(N, H, W, E)``.
    """
    rows, columns, rows_back, columns_back = y.chunk(DIRECTIONS)
    rows = (rows + rows_back.flip(1)).unflatten(1, (height, width))
    columns = (columns + columns_back.flip(1)).unflatten(1, (width, height))
    return rows + columns.transpose(1, 2)
