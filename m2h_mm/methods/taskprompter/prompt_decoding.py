"""From patches and what the prompts found in them to the maps of the tasks, at one level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from m2h_mm.methods.taskprompter.block import PromptLogits


class PromptDecoding(nn.Module):
    """The map of every task at one level (TaskPrompter, "dense spatial-channel task prompt
    decoding").

    The patches are weighted twice by the logits of a task's prompt: each head's channels at each
    position by the spatial logit, and each channel in each window by the channel logit. A 1x1
    convolution follows either; both results are joined and convolved.

    With ``reweighting`` the map of a task then becomes a weighted sum of the maps of all, with
    weights computed from how its prompt relates to the others' (cross-task reweighting).

    Args:
        tasks: names of the T tasks, in the order of their prompts.
        in_channels: C of the patches.
        num_heads: of the attention.
        decode_channels: channels of the weighted patches after their convolution.
        channels: D of the maps.
        reweighting: whether there is the weighted sum.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        in_channels: int,
        num_heads: int,
        decode_channels: int,
        channels: int,
        reweighting: bool,
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.spatial = nn.ModuleDict(
            {task: nn.Conv2d(in_channels, decode_channels, 1) for task in tasks}
        )
        self.channel = nn.ModuleDict(
            {task: nn.Conv2d(in_channels, decode_channels, 1) for task in tasks}
        )
        self.fuse = nn.ModuleDict(
            {
                task: nn.Sequential(
                    nn.Conv2d(2 * decode_channels, channels, 1),
                    nn.Conv2d(channels, channels, 3, padding=1),
                    nn.BatchNorm2d(channels),
                    nn.GELU(),
                    nn.Conv2d(channels, channels, 1),
                )
                for task in tasks
            }
        )
        self.reweight = None
        if reweighting:
            self.reweight = nn.ModuleDict(
                {
                    task: nn.Sequential(
                        nn.Conv2d(num_heads, num_heads, 1), nn.GELU(), nn.Conv2d(num_heads, 1, 1)
                    )
                    for task in tasks
                }
            )

    def forward(
        self, patches: Tensor, logits: PromptLogits, tasks: Sequence[str]
    ) -> dict[str, Tensor]:
        """
        Args:
            patches: ``(N, C, h, w)``.
            logits: of the prompts.
            tasks: those wanted.

        Returns:
            ``{task: (N, D, h, w)}`` of ``tasks``.
        """
        needed = tasks if self.reweight is None else self.tasks
        maps = {task: self.decode(task, patches, logits) for task in needed}
        if self.reweight is None:
            return maps
        stacked = torch.stack([maps[task] for task in self.tasks], dim=1)
        weights = torch.stack([self.weights(task, logits.spatial) for task in tasks], dim=1)
        mixed = (weights @ stacked.flatten(2)).unflatten(2, stacked.shape[2:])
        return dict(zip(tasks, mixed.unbind(1), strict=True))

    def decode(self, task: str, patches: Tensor, logits: PromptLogits) -> Tensor:
        """A task's own map ``(N, D, h, w)``."""
        index = self.tasks.index(task)
        spatial = self.spatial[task](weight_positions(patches, logits.spatial, index))
        channel = self.channel[task](weight_channels(patches, logits.channel[:, index]))
        return self.fuse[task](torch.cat([spatial, channel], dim=1))

    def weights(self, task: str, spatial: Tensor) -> Tensor:
        """The weights of all tasks' maps in that of ``task``, ``(N, T)``."""
        among_prompts = spatial[:, :, self.tasks.index(task), None, : len(self.tasks)]
        return self.reweight[task](among_prompts).flatten(1)


def weight_positions(patches: Tensor, spatial: Tensor, index: int) -> Tensor:
    """Patches, and beside them the patches times what one prompt makes of each position.

    Args:
        patches: ``(N, C, h, w)``.
        spatial: ``(N, heads, T, T + h * w)``.
        index: number of the prompt.

    Returns:
        Their sum, ``(N, C, h, w)``.
    """
    heads, num_prompts = spatial.shape[1:3]
    by_position = spatial[:, :, index, num_prompts:].unflatten(2, patches.shape[2:])
    by_head = patches.unflatten(1, (heads, -1))
    return torch.addcmul(by_head, by_head, by_position[:, :, None]).flatten(1, 2)


def weight_channels(patches: Tensor, channel: Tensor) -> Tensor:
    """Patches, and beside them the patches times what one prompt makes of each channel of a window.

    Args:
        patches: ``(N, C, h, w)``, h and w multiples of R and S.
        channel: ``(N, C, R, S)``.

    Returns:
        Their sum, ``(N, C, h, w)``.
    """
    rows, columns = channel.shape[2:]
    height, width = patches.shape[2] // rows, patches.shape[3] // columns
    windows = patches.unflatten(3, (columns, width)).unflatten(2, (rows, height))
    weighted = torch.addcmul(windows, windows, channel[:, :, :, None, :, None])
    return weighted.flatten(4, 5).flatten(2, 3)
