"""One stage of InvPT's decoder: attention over all positions of all tasks, at one resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.feed_forward import MLP
from m2h_mm.models.layers.resize import resize

NUM_HEADS = 2


def conv_norm_relu(in_channels: int, out_channels: int, dilation: int = 1) -> list[nn.Module]:
    """A size-keeping 3x3 convolution without bias, batch norm and ReLU."""
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


def upsample_logits(logits: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Attention logits for a finer grid of queries; each key's column is upsampled bilinearly, task
    by task.

    Args:
        logits: ``(N, heads, T * h * w, L)``, queries task-major and row-major.
        grid: (h, w).
        size: the finer (H, W).

    Returns:
        ``(N, heads, T * H * W, L)``.
    """
    columns = logits.reshape(-1, *grid, logits.shape[-1]).permute(0, 3, 1, 2)
    return (
        resize(columns, size).permute(0, 2, 3, 1).reshape(*logits.shape[:2], -1, logits.shape[-1])
    )


class CrossTaskAttention(nn.Module):
    """Attention from a half-resolution grid of every task to a pooled grid of all of them, with
    message passing.

    The logits are made explicitly: from the second stage on they are joined with the previous
    stage's, and the next stage takes them over. Keys are few, T * h/p * w/p, and as many in every
    stage.

    Args:
        tasks: names of the T tasks.
        channels: C.
        pooling: p, kernel and stride of the average pooling of keys and values.
        message: whether logits of a previous stage are joined.
    """

    def __init__(self, tasks: Sequence[str], channels: int, pooling: int, message: bool) -> None:
        super().__init__()
        self.pooling = pooling
        self.query_convs = nn.ModuleDict(
            {
                task: nn.Sequential(
                    nn.Conv2d(
                        channels, channels, 3, stride=2, padding=1, groups=channels, bias=False
                    ),
                    nn.BatchNorm2d(channels),
                )
                for task in tasks
            }
        )
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)
        self.fuse = nn.Conv2d(2 * NUM_HEADS, NUM_HEADS, 1) if message else None

    def forward(self, tokens: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """
        Args:
            tokens: normalised, ``(N, T, h, w, C)``, h and w multiples of ``pooling``.
            previous: the previous stage's logits, ``(N, heads, T * h/4 * w/4, L)``, with
                ``message``.

        Returns:
            ``(N, T, h/2, w/2, C)``, and the logits ``(N, heads, T * h/2 * w/2, L)`` for the next
            stage.
        """
        height, width = tokens.shape[2:4]
        queries, context = self.gather(tokens)
        logits = self.logits(queries, context)
        if self.fuse is not None:
            logits = self.join(logits, previous, (height // 4, width // 4))
        attended = logits.softmax(dim=-1) @ self._split_heads(self.value(context))
        out = self.proj(attended.transpose(1, 2).flatten(2))
        return out.unflatten(1, (tokens.shape[1], height // 2, width // 2)), logits

    def join(self, logits: Tensor, previous: Tensor, grid: tuple[int, int]) -> Tensor:
        """The logits of this stage and the upsampled ones of the previous stage, whose queries have
        the ``grid`` (h, w): a 1x1 convolution over the heads of both.
        """
        previous = upsample_logits(previous, grid, (2 * grid[0], 2 * grid[1]))
        return self.fuse(torch.cat([logits, previous], dim=1))

    def gather(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Query tokens ``(N, T * h/2 * w/2, C)`` and pooled tokens ``(N, L, C)``, before their
        linear layers.
        """
        maps = tokens.permute(0, 1, 4, 2, 3)
        queries = torch.stack(
            [
                conv(maps[:, index]).permute(0, 2, 3, 1)
                for index, conv in enumerate(self.query_convs.values())
            ],
            dim=1,
        )
        pooled = F.avg_pool2d(maps.flatten(0, 1), self.pooling).permute(0, 2, 3, 1)
        return queries.flatten(1, 3), pooled.reshape(tokens.shape[0], -1, tokens.shape[-1])

    def logits(self, queries: Tensor, context: Tensor) -> Tensor:
        """``(N, heads, Q, L)``; scaled by the full width, not by a head's."""
        query, key = self._split_heads(self.query(queries)), self._split_heads(self.key(context))
        return (query * queries.shape[-1] ** -0.5) @ key.transpose(2, 3)

    def _split_heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (NUM_HEADS, -1)).transpose(1, 2)


class InvPTStage(nn.Module):
    """One stage of InvPT (arXiv 2203.07997). Norms, attention and MLP are shared by the tasks.

    Args:
        tasks: names of the T tasks.
        channels: C of this stage.
        out_channels: channels D of what it adds to the task maps.
        pooling: p, side in positions of the square that one key stands for.
        in_channels: channels B of the previous stage, whose maps are then upsampled by 2. None: the
            first stage, which takes maps of C = D channels as they are and has no previous logits.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        channels: int,
        out_channels: int,
        pooling: int,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.up_embed = self.reduce = None
        if in_channels is not None:
            self.up_embed = nn.ModuleDict(
                {
                    task: nn.Sequential(
                        *conv_norm_relu(in_channels, channels, dilation=2),
                        *conv_norm_relu(channels, channels, dilation=2),
                    )
                    for task in tasks
                }
            )
            self.reduce = nn.ModuleDict(
                {task: nn.Conv2d(channels, out_channels, 1) for task in tasks}
            )
        self.norm1 = nn.LayerNorm(channels)
        self.attn = CrossTaskAttention(tasks, channels, pooling, message=in_channels is not None)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, 4 * channels)
        self.joint_norm = nn.LayerNorm(len(tasks) * channels)

    def forward(self, tokens: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """
        Args:
            tokens: ``(N, T, h, w, C)``.
            previous: the previous stage's logits, see :class:`CrossTaskAttention`.

        Returns:
            ``(N, T, h, w, C)`` and this stage's logits.
        """
        attended, logits = self.attn(self.norm1(tokens), previous)
        attended = resize(attended.permute(0, 1, 4, 2, 3).flatten(0, 1), tokens.shape[2:4])
        tokens = tokens + attended.permute(0, 2, 3, 1).unflatten(0, tokens.shape[:2])
        return tokens + self.mlp(self.norm2(tokens)), logits

    def upsample(self, tokens: Tensor, skip: Tensor) -> Tensor:
        """The previous stage's ``(N, T, h, w, B)`` at twice the resolution, ``(N, T, 2 h, 2 w,
        C)``.

        ``skip (N, C, 2 h, 2 w)``, from the backbone, is added to every task.
        """
        height, width = tokens.shape[2:4]
        maps = resize(tokens.permute(0, 1, 4, 2, 3).flatten(0, 1), (2 * height, 2 * width))
        maps = maps.unflatten(0, tokens.shape[:2])
        return torch.stack(
            [
                (embed(maps[:, index]) + skip).permute(0, 2, 3, 1)
                for index, embed in enumerate(self.up_embed.values())
            ],
            dim=1,
        )

    def contribution(self, tokens: Tensor, wanted: Sequence[int], size: tuple[int, int]) -> Tensor:
        """What the stage adds to the task maps: normalised over the channels of all tasks, at
        ``size``.

        Args:
            tokens: the stage's output, ``(N, T, h, w, C)``.
            wanted: numbers of the W tasks asked for.
            size: (H, W).

        Returns:
            ``(N * W, D, H, W)``.
        """
        normed = self.joint_norm(tokens.permute(0, 2, 3, 1, 4).flatten(3)).unflatten(
            3, (tokens.shape[1], -1)
        )
        chosen = torch.stack([normed[..., index, :] for index in wanted], dim=1)
        # Upsampled in channels-last memory, which is several times faster on a CPU.
        maps = resize(chosen.flatten(0, 1).permute(0, 3, 1, 2), size)
        if self.reduce is None:
            return maps
        convs = list(self.reduce.values())
        by_task = maps.unflatten(0, (-1, len(wanted))).unbind(1)
        reduced = [convs[index](x) for index, x in zip(wanted, by_task, strict=True)]
        return torch.stack(reduced, dim=1).flatten(0, 1)
