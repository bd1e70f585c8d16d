"""The maps of all tasks as one tensor of tokens, T at each pixel, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def stack_tasks(maps: Mapping[str, Tensor], tasks: Sequence[str]) -> Tensor:
    """``{task: (N, C, H, W)}`` to ``(N, H, W, T, C)``, in the order of ``tasks``."""
    return torch.stack([maps[task].permute(0, 2, 3, 1) for task in tasks], dim=3)


def unstack_tasks(x: Tensor, tasks: Sequence[str], like: Tensor) -> dict[str, Tensor]:
    """The inverse of :func:`stack_tasks`, in the memory format of the map ``like``."""
    memory_format = torch.contiguous_format
    # Strides of a size that an export does not know cannot be compared.
    if not isinstance(x.shape[1], torch.SymInt):
        if like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous():
            memory_format = torch.channels_last
    return {
        task: x[..., index, :].permute(0, 3, 1, 2).clone(memory_format=memory_format)
        for index, task in enumerate(tasks)
    }
