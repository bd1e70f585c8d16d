"""M2H-MX's Mamba block as an exchange between the maps of M2H's decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.register_mamba import RegisterMamba
from m2h_mm.registry import MODELS


@MODELS.register_module()
class M2HMXMamba(nn.Module):
    """The shared block of M2H-MX's decoder (arXiv 2603.29236): all tasks write into one map, a
    Mamba block reads it row by row, and each task takes its part.

    ``s = conv1([x_1; ...; x_T])``, ``s' = block(s, mean of s)`` with a
    :class:`~m2h_mm.models.layers.register_mamba.RegisterMamba`, ``y_t = x_t + GELU(GN(conv3_t(
    s')))``, a group norm over all channels, no bias in its convolution. Time is linear in the
    number of pixels, and every pixel hears all before it, in row-major order.

    Not as in M2H-MX: there the shared map comes from the pyramid, here from the tasks, which have
    maps of their own already; and its gate sees the backbone's register tokens, which an
    interaction is not given: the mean of the shared map stands in for them.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.
        state_size: states per inner channel of Mamba, of which there are 2 C. Default: 32.
        drop_path: probability that a sample skips a branch of the block in training. Default: 0.

    Shapes: ``{task: (N, C, H, W)}`` kept.
    """

    def __init__(
        self, channels: int, tasks: Sequence[str], state_size: int = 32, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.shared = nn.Conv2d(len(self.tasks) * channels, channels, 1)
        self.block = RegisterMamba(channels, state_size, drop_path)
        self.branches = nn.ModuleDict(
            {
                task: nn.Sequential(
                    nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                    nn.GroupNorm(1, channels),
                )
                for task in self.tasks
            }
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        shared = self.shared(torch.cat([maps[task] for task in self.tasks], dim=1))
        shared = self.block(shared, shared.mean((2, 3)))
        return {task: maps[task] + F.gelu(self.branches[task](shared)) for task in self.tasks}
