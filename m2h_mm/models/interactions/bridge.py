"""Bridge features: what all tasks say is gathered once, and each task reads it there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import require_divisible
from m2h_mm.models.layers.feed_forward import FeedForward
from m2h_mm.registry import MODELS


@MODELS.register_module()
class BridgeFeatures(nn.Module):
    """Bridge features, after BridgeNet (Zhang et al., TPAMI 2025, arXiv 2312.13514).

    Tasks do not meet in pairs: all are gathered in one map, the bridge, by attention from a map
    that belongs to no task (the paper's bridge feature extractor), and each task attends to the
    bridge (its task-feature refiner). The number of attentions is linear in the number of tasks, as
    the paper claims. With LN layer norms over the channels of a pixel, and ``pool`` the mean over
    p x p pixels:

    - ``u_t = LN_t(x_t)`` and ``g = sum_t linear_t(u_t)``
    - ``b = LN(g + attention(LN(g); pool(u_1), ..., pool(u_T)))``
    - ``y_t = x_t + FFN_t(b + attention_t(u_t; pool(b)))``

    where what stands behind the semicolon are keys and values. The order of the tasks does not
    matter. There are T H W / p^2 keys at the bridge and H W / p^2 at each of the T refiners, so
    that attention takes ``4 T C (H W)^2 / p^2`` multiply-adds, quadratic in the area for a given p.
    Linear layers and feed-forward networks take ``(T (3 + 2 r) + 2) C^2`` per pixel, with the
    defaults more than attention on maps of up to ``(112 + 32 / T) C`` pixels. The last layers of
    the feed-forward networks start at zero: an untrained exchange changes nothing.

    Read were the paper's abstract, the start of its introduction and an overview of its parts; what
    they leave open was decided here. In BridgeNet g comes from the backbone, and the bridge is made
    at several scales; an interaction is given the tasks' maps alone, at one scale, of which g is
    made. Task pattern propagation, which prepares the participants with first predictions, has no
    counterpart: here the fusion before the exchange prepares them. The feed-forward network is also
    given the bridge at the pixel itself, since pooled keys have lost what tasks know of one pixel.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.
        num_heads: attention heads; must divide C. Default: 4.
        pooling: p in pixels, at least 1. Where p does not divide the map, the last keys pool the
            rest. Default: 8.
        ffn_ratio: r, hidden channels of the feed-forward networks per channel. Default: 2.

    Shapes: ``{task: (N, C, H, W)}`` kept.

    Raises:
        ValueError: channels that heads do not divide; ``pooling`` below 1.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        num_heads: int = 4,
        pooling: int = 8,
        ffn_ratio: float = 2,
    ) -> None:
        super().__init__()
        owner = 'model.decoder.interaction (BridgeFeatures)'
        require_divisible(owner, 'channels', channels, num_heads, f'{num_heads=}')
        if pooling < 1:
            raise ValueError(f'{owner}: expected pooling of at least 1, got {pooling}.')
        self.tasks = tuple(tasks)
        self.pooling = pooling
        self.norms = nn.ModuleDict({task: nn.LayerNorm(channels) for task in self.tasks})
        self.gather = nn.ModuleDict({task: nn.Linear(channels, channels) for task in self.tasks})
        self.gather_norm = nn.LayerNorm(channels)
        self.extract = CrossAttention(channels, num_heads)
        self.bridge_norm = nn.LayerNorm(channels)
        self.refine = nn.ModuleDict(
            {task: CrossAttention(channels, num_heads) for task in self.tasks}
        )
        self.ffn = nn.ModuleDict()
        for task in self.tasks:
            ffn = FeedForward(channels, int(channels * ffn_ratio))
            nn.init.zeros_(ffn[-1].weight)
            nn.init.zeros_(ffn[-1].bias)
            self.ffn[task] = ffn

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        tokens = {task: self.norms[task](maps[task].permute(0, 2, 3, 1)) for task in self.tasks}
        bridge = self.bridge(tokens)
        keys = self.pool(bridge)
        refined = {}
        for task, x in tokens.items():
            heard = self.ffn[task](bridge + self.refine[task](x, keys))
            refined[task] = maps[task] + heard.permute(0, 3, 1, 2)
        return refined

    def bridge(self, tokens: dict[str, Tensor]) -> Tensor:
        """The bridge of the tasks' ``(N, H, W, C)``, of that shape."""
        gathered = sum(self.gather[task](x) for task, x in tokens.items())
        keys = torch.cat([self.pool(x) for x in tokens.values()], dim=1)
        return self.bridge_norm(gathered + self.extract(self.gather_norm(gathered), keys))

    def pool(self, tokens: Tensor) -> Tensor:
        """``(N, H, W, C)`` to the means of its squares, ``(N, L, C)``."""
        pooled = F.avg_pool2d(tokens.permute(0, 3, 1, 2), self.pooling, ceil_mode=True)
        return pooled.flatten(2).transpose(1, 2)


class CrossAttention(nn.Module):
    """Attention of the pixels of a map to given tokens.

    Args:
        channels: C.
        num_heads: attention heads.

    Shapes: a map ``(N, H, W, C)``, kept, and tokens ``(N, L, C)``.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        query = self.query(x).flatten(1, 2).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        key_value = self.key_value(tokens).unflatten(2, (2, self.num_heads, -1))
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2)).unflatten(1, x.shape[1:3])
