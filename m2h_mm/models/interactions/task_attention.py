"""Task attention: one map for all tasks, of which each takes its part by a mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2h_mm.models.layers.conv import require_divisible
from m2h_mm.registry import MODELS


@MODELS.register_module()
class TaskAttention(nn.Module):
    """Soft masks on a shared map, the attention of MTAN (Liu et al., CVPR 2019, arXiv 1803.10704).

    ``y_t = mask_t([u; x_t]) * u`` with a shared map ``u = ReLU(BN(conv1([x_1; ...; x_T])))``, a 1x1
    convolution without bias to C channels, and :class:`AttentionMask`.

    MTAN was born inside backbones: u is then a stage of one backbone, and the masks see, beside the
    backbone's features, what the task took from the stage before. Here u has to be made from the
    tasks' maps, and a convolution of all of them may choose where their mean could not; the task's
    own map stands for the stage before. As in MTAN there is no path around the mask: a task's own
    map decides what is taken from u and is not added to it.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.
        reduction: the masks have C / ``reduction`` hidden channels. Default: 4.

    Shapes: ``{task: (N, C, H, W)}`` kept.

    Raises:
        ValueError: channels that ``reduction`` does not divide.
    """

    def __init__(self, channels: int, tasks: Sequence[str], reduction: int = 4) -> None:
        super().__init__()
        require_divisible(
            'model.decoder.interaction (TaskAttention)',
            'channels',
            channels,
            reduction,
            f'{reduction=}',
        )
        self.tasks = tuple(tasks)
        self.shared = nn.Sequential(
            nn.Conv2d(len(self.tasks) * channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        # One by one: as fast as grouped convolutions of all tasks, which would have to copy u for
        # each.
        self.masks = nn.ModuleDict(
            {
                task: AttentionMask(2 * channels, channels, channels // reduction)
                for task in self.tasks
            }
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        shared = self.shared(torch.cat([maps[task] for task in self.tasks], dim=1))
        return {
            task: self.masks[task](torch.cat([shared, maps[task]], dim=1)) * shared
            for task in self.tasks
        }


class AttentionMask(nn.Sequential):
    """``sigmoid(BN(conv1(ReLU(BN(conv1(v))))))``, 1x1 convolutions with bias: a mask in (0, 1).

    Args:
        in_channels: channels C_in of v.
        out_channels: C of the map that is masked.
        hidden_channels: channels between the convolutions.

    Shapes: ``(N, C_in, H, W)`` to ``(N, C, H, W)``.
    """

    def __init__(self, in_channels: int, out_channels: int, hidden_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, hidden_channels, 1),
            nn.BatchNorm2d(hidden_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden_channels, out_channels, 1),
            nn.BatchNorm2d(out_channels),
            nn.Sigmoid(),
        )
