"""Fast forms of InvPT's layers: 1x1 convolutions run before the upsampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from m2h_mm.methods.invpt.stage import NUM_HEADS, CrossTaskAttention, InvPTStage, upsample_logits
from m2h_mm.models.layers.resize import resize
from m2h_mm.models.optimize import is_pointwise, rewrites


@rewrites(CrossTaskAttention)
class FastCrossTaskAttention(CrossTaskAttention):
    """``CrossTaskAttention`` that convolves the previous stage's logits before it upsamples them.

    The convolution is split into its two inputs, which are then not joined in memory.
    """

    def join(self, logits: Tensor, previous: Tensor, grid: tuple[int, int]) -> Tensor:
        if not is_pointwise(self.fuse) or self.fuse.groups > 1:
            return super().join(logits, previous, grid)
        current_weight, previous_weight = self.fuse.weight.split(NUM_HEADS, dim=1)
        message = F.conv2d(previous, previous_weight, self.fuse.bias)
        message = upsample_logits(message, grid, (2 * grid[0], 2 * grid[1]))
        return F.conv2d(logits, current_weight) + message


@rewrites(InvPTStage)
class FastInvPTStage(InvPTStage):
    """``InvPTStage`` that reduces the channels of its contribution before it upsamples it."""

    def contribution(self, tokens: Tensor, wanted: Sequence[int], size: tuple[int, int]) -> Tensor:
        if self.reduce is None or not all(map(is_pointwise, self.reduce.values())):
            return super().contribution(tokens, wanted, size)
        convs = list(self.reduce.values())
        normed = self.joint_norm(tokens.permute(0, 2, 3, 1, 4).flatten(3))
        by_task = normed.unflatten(3, (tokens.shape[1], -1))
        maps = [convs[index](by_task[..., index, :].permute(0, 3, 1, 2)) for index in wanted]
        # Upsampled in channels-last memory, which is several times faster on a CPU.
        stacked = torch.stack([x.permute(0, 2, 3, 1) for x in maps], dim=1)
        return resize(stacked.flatten(0, 1).permute(0, 3, 1, 2), size)
