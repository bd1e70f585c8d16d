"""NDDR: neural discriminative dimensionality reduction of all tasks' channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS


@MODELS.register_module()
class NDDR(nn.Module):
    """Neural discriminative dimensionality reduction (Gao et al., NDDR-CNN, CVPR 2019,
    arXiv 1801.08297).

    Each task takes what it needs from all tasks' channels: ``y_t = ReLU(BN(conv1_t([x_1; ...;
    x_T])))``, a 1x1 convolution without bias from T C to C channels. The T convolutions are one
    from T C to T C channels; its output channels stand in the order of ``tasks``.

    The layer was born inside backbones: one follows the stem and each stage of a backbone per task.
    Here it is one layer on the tasks' maps. Published trainings give its parameters 100 times the
    base learning rate (SGD); in a config that is
    ``optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'decoder.interaction':
    dict(lr_mult=100)}))``.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.
        init_self: the convolution starts as this multiple of the identity on a task's own channels.
            Default: 0.9.
        init_other: and as this one on each partner's, however many there are: with more tasks the
            partners weigh more. Batch norm takes the common scale out again. Default: 0.1.

    Shapes: ``{task: (N, C, H, W)}`` kept.
    """

    def __init__(
        self, channels: int, tasks: Sequence[str], init_self: float = 0.9, init_other: float = 0.1
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        width = len(self.tasks) * channels
        self.conv = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width, momentum=0.05)
        mixture = torch.full((len(self.tasks),) * 2, init_other).fill_diagonal_(init_self)
        with torch.no_grad():
            self.conv.weight.copy_(torch.kron(mixture, torch.eye(channels))[..., None, None])

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        x = torch.cat([maps[task] for task in self.tasks], dim=1)
        x = torch.relu(self.norm(self.conv(x)))
        return dict(zip(self.tasks, x.chunk(len(self.tasks), dim=1), strict=True))
