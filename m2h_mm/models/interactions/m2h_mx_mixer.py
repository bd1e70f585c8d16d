"""M2H-MX's cross-task mixer as an exchange between the maps of M2H's decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from m2h_mm.models.layers.context_mixer import ContextMixer
from m2h_mm.registry import MODELS


@MODELS.register_module()
class M2HMXMixer(nn.Module):
    """The cross-task mixer of M2H-MX (arXiv 2603.29236): ``y_t = mixer_t(x_t; x_a, a != t)``, a
    :class:`~m2h_mm.models.layers.context_mixer.ContextMixer` for each task.

    In M2H-MX the mixers stand in the heads, which run one after the other: edges hear what the
    depth head has made, and so on, and depth hears nobody. Here all tasks hear each other's maps as
    they were before, as in every other interaction. As in M2H-MX there is no path around the
    mixture. ``(T^2 + 2 T (T - 1) + 2 T) C^2`` multiply-adds per pixel in the 1x1 convolutions, and
    43 T C in the depthwise ones. A single task keeps its map.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.

    Shapes: ``{task: (N, C, H, W)}`` kept.
    """

    def __init__(self, channels: int, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        others = {task: [other for other in self.tasks if other != task] for task in self.tasks}
        self.mixers = nn.ModuleDict(
            {task: ContextMixer(channels, names) for task, names in others.items() if names}
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        if len(self.tasks) == 1:
            return {task: maps[task] for task in self.tasks}
        return {task: self.mixers[task](maps[task], maps) for task in self.tasks}
