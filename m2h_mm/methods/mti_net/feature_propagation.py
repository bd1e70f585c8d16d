"""MTI-Net's feature propagation module: what all tasks found at one scale, for each task at the
next finer one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2h_mm.models.layers.residual import BasicBlock


class FeaturePropagation(nn.Module):
    """Feature propagation module of MTI-Net (arXiv 2001.06902, section 3.3).

    The maps of all tasks are concatenated and masked, reduced to the channels of one task, and
    handed back to every task through its own channel gate, on top of the task's own map.

    The mask is a softmax over groups of T adjacent channels, as in the official code; where T
    divides C such a group lies within one task. The paper describes a softmax that compares the
    tasks. A single task would be masked by 1 everywhere, so it has no mask.

    Args:
        channels: C.
        tasks: names of the T tasks, in the order in which their channels are concatenated.

    Shapes: ``{task: (N, C, H, W)}`` kept.
    """

    def __init__(self, channels: int, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        width = len(self.tasks) * channels
        self.mask = None
        if len(self.tasks) > 1:
            inner = max(width // 4, 1)
            self.mask = nn.Sequential(
                BasicBlock(width, inner), BasicBlock(inner, inner), nn.Conv2d(inner, width, 1)
            )
        self.reduce = BasicBlock(width, channels)
        squeezed = max(channels // 16, 1)
        self.gates = nn.ModuleDict(
            {
                task: nn.Sequential(
                    nn.Linear(channels, squeezed),
                    nn.ReLU(inplace=True),
                    nn.Linear(squeezed, channels),
                    nn.Sigmoid(),
                )
                for task in self.tasks
            }
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        joint = torch.cat([maps[task] for task in self.tasks], dim=1)
        if self.mask is not None:
            groups = self.mask(joint).unflatten(1, (-1, len(self.tasks)))
            joint = joint * groups.softmax(dim=2).flatten(
                1, 2
            )  # in the memory format of the first factor
        shared = self.reduce(joint)
        mean = shared.mean((2, 3))
        return {
            task: torch.addcmul(maps[task], shared, gate(mean)[..., None, None])
            for task, gate in self.gates.items()
        }
