"""Cross-task mixer: a gated 1x1 mixture of the other tasks' maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS


@MODELS.register_module()
class CrossTaskMixer(nn.Module):
    """Gated 1x1 mixing, in the spirit of M2H-MX (arXiv 2603.29236); its own mixer is
    :class:`M2HMXMixer`.

    ``y_t = x_t + g_t * conv1_t([x_a, a != t])`` with a gate ``g_t = sigmoid(conv1'_t(x_t))`` per
    pixel and channel, both 1x1 convolutions with bias. The receiving task's map alone sets the
    gate: a task decides where it listens, and what it hears is a linear function of the others. (A
    gate that did not depend on the input would add nothing to the convolution.) T^2 C^2
    multiply-adds per pixel, no exchange between pixels. A single task keeps its map.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.

    Shapes: ``{task: (N, C, H, W)}`` kept.
    """

    def __init__(self, channels: int, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        partners = len(self.tasks) - 1
        exchanging = self.tasks if partners else ()
        # One by one: a convolution of all maps at once would multiply by the zeros of each task's
        # own block.
        self.mix = nn.ModuleDict(
            {task: nn.Conv2d(partners * channels, channels, 1) for task in exchanging}
        )
        self.gate = nn.ModuleDict({task: nn.Conv2d(channels, channels, 1) for task in exchanging})

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        if len(self.tasks) == 1:
            return {task: maps[task] for task in self.tasks}
        mixed = {}
        for task in self.tasks:
            others = torch.cat([maps[other] for other in self.tasks if other != task], dim=1)
            mixed[task] = maps[task] + self.gate[task](maps[task]).sigmoid() * self.mix[task](
                others
            )
        return mixed
