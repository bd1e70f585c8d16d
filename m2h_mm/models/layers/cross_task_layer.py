"""A transformer layer among all tasks' tokens of a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.feed_forward import FeedForward

MAX_WINDOWS = 65535  # CUDA's attention kernels count them in 16 bits


class CrossTaskLayer(nn.Module):
    """Attention among all tokens of a window, then a feed-forward network; norms per task around
    the two.

    Args:
        channels: C.
        tasks: names, in the order of a pixel's T tokens.
        num_heads: attention heads.
        ffn_ratio: hidden channels of the feed-forward network per channel.
        pre_norm: see :class:`~m2h_mm.models.interactions.wmca.WMCA`, as for the others.
        position_bias: side n of the windows in pixels, whose tokens get a bias by their relative
            position; 0: no bias.
        per_task: parts with weights of their own for each task: qkv, proj, ffn.

    Shapes: x ``(B, L, C)`` kept, B windows of L = pixels * T tokens; mask ``(B or 1, heads or 1, L,
    L)`` bool, True where a query (first) may attend to a key.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        num_heads: int,
        ffn_ratio: float,
        pre_norm: bool = False,
        position_bias: int = 0,
        per_task: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pre_norm = pre_norm
        hidden = int(channels * ffn_ratio)

        def part(name: str, make: Callable[[], nn.Module]) -> nn.Module:
            return PerTask(tasks, make) if name in per_task else make()

        self.norm1 = TaskLayerNorm(channels, tasks)
        self.qkv = part('qkv', lambda: nn.Linear(channels, 3 * channels))
        self.proj = part('proj', lambda: nn.Linear(channels, channels))
        self.ffn = part('ffn', lambda: FeedForward(channels, hidden))
        self.norm2 = TaskLayerNorm(channels, tasks)
        self.position_bias = None
        if position_bias:
            self.position_bias = PositionBias(position_bias, len(tasks), num_heads)
        # As in nn.MultiheadAttention, which the official code starts from.
        for qkv in _of_tasks(self.qkv):
            nn.init.xavier_uniform_(qkv.weight)
            nn.init.zeros_(qkv.bias)
        for proj in _of_tasks(self.proj):
            nn.init.zeros_(proj.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        # (B, L, 3 C) to queries, keys and values (3, B, heads, L, C / heads)
        normed = self.norm1(x)
        qkv = self.qkv(normed).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        if self.position_bias is not None:
            bias = self.position_bias().to(qkv.dtype)
            mask = bias if mask is None else bias.masked_fill(~mask, float('-inf'))
        attended = self.proj(attend_in_windows(qkv, mask).transpose(1, 2).flatten(2))
        if self.pre_norm:
            x = x + attended
            return x + self.ffn(self.norm2(x))
        x = normed + attended
        return self.norm2(x + self.ffn(x))


def attend_in_windows(qkv: Tensor, mask: Tensor | None) -> Tensor:
    """Attention within each of B windows, in one kernel for as many windows as the device allows.

    Args:
        qkv: queries, keys and values ``(3, B, heads, L, D)``.
        mask: ``(B or 1, heads or 1, L, L)``, bool, see :class:`CrossTaskLayer`, or what is added to
            the logits.

    Returns:
        ``(B, heads, L, D)``.
    """
    # Lengths are compared on a GPU only: in an export for several sizes they are not known.
    if not qkv.is_cuda or qkv.shape[1] <= MAX_WINDOWS:
        return F.scaled_dot_product_attention(*qkv.unbind(0), attn_mask=mask)
    parts = zip(qkv.split(MAX_WINDOWS, dim=1), split_mask(mask, MAX_WINDOWS), strict=False)
    return torch.cat([F.scaled_dot_product_attention(*x, attn_mask=part) for x, part in parts])


def split_mask(mask: Tensor | None, windows: int) -> Sequence[Tensor] | repeat:
    """The masks of ``windows`` windows at a time; one that is that of every window stays whole."""
    return repeat(mask) if mask is None or len(mask) == 1 else mask.split(windows)


class PositionBias(nn.Module):
    """What is added to the attention's logits by the offset between two pixels of a window.

    Swin's relative position bias (arXiv 2103.14030, section 3.2): a table of ``(2 n - 1)^2`` rows,
    one per offset, of a number per head.

    Args:
        window_size: n in pixels.
        tokens: T of each pixel.
        num_heads: attention heads.

    Returns:
        ``(1, heads, L, L)`` with L = n * n * T, query first.
    """

    def __init__(self, window_size: int, tokens: int, num_heads: int) -> None:
        super().__init__()
        side = 2 * window_size - 1
        self.table = nn.Parameter(torch.empty(side**2, num_heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        row, column = (
            x.flatten() for x in torch.meshgrid(*[torch.arange(window_size)] * 2, indexing='ij')
        )
        row, column = (x[:, None] - x + window_size - 1 for x in (row, column))
        index = (row * side + column).repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
        self.register_buffer('index', index, persistent=False)

    def forward(self) -> Tensor:
        return self.table.t()[:, self.index][None]


class PerTask(nn.ModuleDict):
    """One module per task, each for its task's tokens.

    Args:
        tasks: names of the T tasks, in the order of a pixel's tokens.
        make: makes the module of one task, which keeps all but the last dimension.

    Shapes: ``(B, pixels * T, C)`` to ``(B, pixels * T, D)``, the T tokens of a pixel side by side.
    """

    def __init__(self, tasks: Sequence[str], make: Callable[[], nn.Module]) -> None:
        super().__init__({task: make() for task in tasks})

    def forward(self, x: Tensor) -> Tensor:
        by_task = x.unflatten(1, (-1, len(self))).unbind(2)
        out = [module(tokens) for module, tokens in zip(self.values(), by_task, strict=True)]
        return torch.stack(out, dim=2).flatten(1, 2)


class TaskLayerNorm(PerTask):
    """One layer norm per task.

    Args:
        channels: C.
        tasks: names of the T tasks, in the order of a pixel's tokens.

    Shapes: ``(B, pixels * T, C)`` kept.
    """

    def __init__(self, channels: int, tasks: Sequence[str]) -> None:
        super().__init__(tasks, lambda: nn.LayerNorm(channels))


def _of_tasks(layer: nn.Module) -> list[nn.Module]:
    return list(layer.values()) if isinstance(layer, PerTask) else [layer]
