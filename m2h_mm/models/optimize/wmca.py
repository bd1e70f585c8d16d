"""Window attention with fewer copies and less memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.interactions.wmca import WMCA
from m2h_mm.models.layers.cross_task_layer import CrossTaskLayer, TaskLayerNorm, split_mask
from m2h_mm.models.layers.resize import resize
from m2h_mm.models.layers.task_tokens import stack_tasks, unstack_tasks

from .checks import is_exactly, is_pointwise
from .rewrites import rewrites

TOKENS_AT_ONCE = 32 * 196
"""Tokens that one layer computes together on a CPU, 32 windows of 7x7 pixels and four tasks: its
widest maps then stay in the cache."""


@rewrites(WMCA)
class FastWMCA(WMCA):
    """``WMCA`` that keeps its windows cut and projects before it upsamples.

    Windows are put together and cut anew only where a layer cuts them in another way than the layer
    before. M2H-small's last 1x1 convolutions run at the lower resolution.
    """

    def exchange(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.post_project is None or not all(map(is_pointwise, self.post_project.values())):
            return super().exchange(maps)
        size = tuple(maps[self.tasks[0]].shape[-2:])
        attended = self.attend(self.reduce(maps))
        projected = {task: self.post_project[task](x) for task, x in attended.items()}
        return {task: resize(x, size, align_corners=True) for task, x in projected.items()}

    def attend(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        first = maps[self.tasks[0]]
        # Not len(first), which an export would make a constant.
        num, device = first.shape[0], first.device
        x = stack_tasks(maps, self.tasks)
        current = valid = mask = None
        for layer, grid in zip(self.layers, self.grids(*first.shape[2:]), strict=True):
            if grid != current:
                x = grid.cut(x if current is None else current.merge(x, num))
                valid = grid.valid(len(self.tasks), device) if grid.padded else None
                mask = self.mask(grid, num, device)
                current = grid
            elif valid is not None:
                # Padding is zero at the start of every layer, whatever the last one made of it.
                x = x * valid.repeat(num, 1)[..., None]
            x = layer(x, mask)
        return unstack_tasks(current.merge(x, num), self.tasks, first)


@rewrites(CrossTaskLayer)
class FastCrossTaskLayer(CrossTaskLayer):
    """``CrossTaskLayer`` that takes a few windows at a time, on a CPU and without gradients.

    No window sees another one, so they need not be in memory together.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        together = x.device.type != 'cpu' or torch.is_grad_enabled()
        # The first: lengths are not to be compared in an export for several sizes.
        if together or torch.compiler.is_compiling():
            return super().forward(x, mask)
        windows = max(1, TOKENS_AT_ONCE // x.shape[1])
        if len(x) <= windows:
            return super().forward(x, mask)
        parts = zip(x.split(windows), split_mask(mask, windows), strict=False)
        return torch.cat([super(FastCrossTaskLayer, self).forward(*part) for part in parts])


@rewrites(TaskLayerNorm)
class FastTaskLayerNorm(TaskLayerNorm):
    """``TaskLayerNorm`` that normalises the tokens of all tasks in one call."""

    def forward(self, x: Tensor) -> Tensor:
        norms = list(self.values())
        if not all(_scales_and_shifts(norm, norms[0].eps) for norm in norms):
            return super().forward(x)
        weight = torch.stack([norm.weight for norm in norms])
        bias = torch.stack([norm.bias for norm in norms])
        normed = F.layer_norm(x, x.shape[-1:], eps=norms[0].eps).unflatten(1, (-1, len(norms)))
        return torch.addcmul(bias, normed, weight).flatten(1, 2)


def _scales_and_shifts(norm: nn.Module, eps: float) -> bool:
    return (
        is_exactly(norm, nn.LayerNorm)
        and norm.eps == eps
        and norm.weight is not None
        and norm.bias is not None
    )
