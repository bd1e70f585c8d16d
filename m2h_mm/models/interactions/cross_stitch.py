"""Cross-stitch unit: every channel of a task is a learned blend of that channel of all tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS


@MODELS.register_module()
class CrossStitch(nn.Module):
    """Cross-stitch unit (Misra et al., CVPR 2016, arXiv 1604.03539, eq. 1, one set of scalars per
    channel).

    ``y_i = sum_j w_ij * x_j`` with one scalar per channel for each pair of tasks, T^2 C parameters
    in all. Nothing is exchanged between channels or pixels.

    The unit was born inside backbones: one follows each stage of a backbone per task. Here it is
    one unit on the tasks' maps. Published trainings give its parameters 100 times the base learning
    rate (SGD); in a config that is
    ``optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'decoder.interaction':
    dict(lr_mult=100)}))``.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.
        init_self: w_ii at the start. Default: 0.9.
        init_other: w_ij at the start, for each partner j however many there are: the weights of a
            task sum to 1 for two tasks, as in the paper, to 1.2 for four, as in the public
            implementation, and a single task is scaled by ``init_self``. A sum of 1 for T tasks
            takes ``init_other=0.1 / (T - 1)``. Default: 0.1.

    Shapes: ``{task: (N, C, H, W)}`` kept.
    """

    def __init__(
        self, channels: int, tasks: Sequence[str], init_self: float = 0.9, init_other: float = 0.1
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        mixture = torch.full((len(self.tasks),) * 2, init_other).fill_diagonal_(init_self)
        self.weight = nn.Parameter(mixture[..., None].repeat(1, 1, channels))

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        inputs = [maps[task] for task in self.tasks]
        # Sums in place of one product of stacked maps: no copies, and the maps' memory format
        # stays.
        weights = self.weight.to(inputs[0].dtype)[..., None, None]
        return {task: _blend(inputs, row) for task, row in zip(self.tasks, weights, strict=True)}


def _blend(inputs: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Sum of ``(N, C, H, W)`` maps, the j-th times ``weights[j]``, ``(C, 1, 1)``."""
    blend = inputs[0] * weights[0]
    for x, weight in zip(inputs[1:], weights[1:], strict=True):
        blend = torch.addcmul(blend, x, weight)
    return blend
