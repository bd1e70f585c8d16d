"""Attention among all tasks and all positions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import require_divisible
from m2h_mm.models.layers.feed_forward import FeedForward
from m2h_mm.models.layers.resize import resize
from m2h_mm.models.layers.task_tokens import stack_tasks, unstack_tasks
from m2h_mm.registry import MODELS


@MODELS.register_module()
class GlobalCrossTaskAttention(nn.Module):
    """Attention among all tasks and all positions, after InvPT (Ye and Xu, ECCV 2022,
    arXiv 2203.07997).

    The counterpart of window attention: every position of every task sees the whole image of all
    tasks, at a lower resolution. With T tasks there are T H W / 4 queries and T H W / p^2 keys, p
    the pooling, so attention takes ``C T^2 (H W)^2 / (2 p^2)`` multiply-adds, quadratic in the
    image's area for a given p, and ``H W / (4 p^2 n^2)`` times the ``2 C T^2 n^2 H W`` of windows
    of n x n pixels. The feed-forward network, ``2 r C^2 T H W`` multiply-adds with its ratio r, is
    linear in the area.

    With the defaults except ``pooling=2`` this is InvPT's first stage, numbers and all: one layer
    norm, one attention and one feed-forward network shared by all tasks; queries from a depthwise
    3x3 convolution of stride 2 and a batch norm per task; keys and values from average pooling;
    logits scaled by C^-1/2, not by the heads' width; the result upsampled bilinearly and added.

    Not as in InvPT: one resolution in place of three stages with upsampling and skips between them,
    hence no messages between stages (the attention logits of a stage are not handed to the next,
    which lets the fused kernels compute them); ``num_layers`` may exceed the one layer of a stage;
    p is given, where InvPT doubles it with the resolution (2, 4, 8) to keep the number of keys per
    image the same.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.
        num_heads: attention heads; must divide C. Default: 2.
        num_layers: layers, one after the other, at least one. Default: 1.
        pooling: p in pixels of the tasks' maps, at least 1. Where p does not divide the map, the
            last keys pool the rest. Default: 8.
        mlp_ratio: hidden channels of the feed-forward network per channel. Default: 4.

    Shapes: ``{task: (N, C, H, W)}`` kept.

    Raises:
        ValueError: channels that heads do not divide; ``num_layers`` or ``pooling`` below 1.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        num_heads: int = 2,
        num_layers: int = 1,
        pooling: int = 8,
        mlp_ratio: float = 4,
    ) -> None:
        super().__init__()
        owner = 'model.decoder.interaction (GlobalCrossTaskAttention)'
        require_divisible(owner, 'channels', channels, num_heads, f'{num_heads=}')
        for name, value in dict(num_layers=num_layers, pooling=pooling).items():
            if value < 1:
                raise ValueError(f'{owner}: expected {name} of at least 1, got {value}.')
        self.tasks = tuple(tasks)
        self.layers = nn.ModuleList(
            GlobalCrossTaskLayer(channels, len(self.tasks), num_heads, pooling, mlp_ratio)
            for _ in range(num_layers)
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        x = stack_tasks(maps, self.tasks)
        for layer in self.layers:
            x = layer(x)
        return unstack_tasks(x, self.tasks, maps[self.tasks[0]])


class GlobalCrossTaskLayer(nn.Module):
    """Attention of all positions to pooled positions of all tasks, then a feed-forward network.

    Args:
        channels: C.
        num_tasks: T.
        num_heads: attention heads.
        pooling: side of the squares that become one key, in pixels.
        mlp_ratio: hidden channels of the feed-forward network per channel.

    Shapes: ``(N, H, W, T, C)`` kept. The tasks of a pixel stand side by side, so that the tokens
    are, without a copy, one map of T C channels in channels-last format.
    """

    def __init__(
        self, channels: int, num_tasks: int, num_heads: int, pooling: int, mlp_ratio: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pooling = pooling
        width, hidden = num_tasks * channels, int(channels * mlp_ratio)
        self.norm1 = nn.LayerNorm(channels)
        self.shrink = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
        )
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def attention(self, x: Tensor) -> Tensor:
        height, width, tasks, channels = x.shape[1:]
        maps = x.flatten(3).permute(0, 3, 1, 2)
        shrunk = self.shrink(maps).permute(0, 2, 3, 1).unflatten(3, (tasks, channels))
        pooled = (
            F.avg_pool2d(maps, self.pooling, ceil_mode=True)
            .permute(0, 2, 3, 1)
            .unflatten(3, (tasks, channels))
        )
        query = self.query(shrunk).flatten(1, 3).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        key_value = self.key_value(pooled).flatten(1, 3).unflatten(2, (2, self.num_heads, -1))
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(query, key, value, scale=channels**-0.5)
        # As in InvPT the projection comes before the upsampling.
        out = self.proj(out.transpose(1, 2).flatten(2)).reshape(*shrunk.shape[:3], tasks * channels)
        out = resize(out.permute(0, 3, 1, 2), (height, width))
        return out.permute(0, 2, 3, 1).unflatten(3, (tasks, channels))
