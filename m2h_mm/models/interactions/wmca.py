"""WMCA: window-based cross-task attention."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import require_divisible
from m2h_mm.models.layers.feed_forward import FeedForward
from m2h_mm.models.layers.resize import resize
from m2h_mm.models.layers.task_tokens import stack_tasks, unstack_tasks
from m2h_mm.models.layers.windows import WindowGrid
from m2h_mm.registry import MODELS

MAX_WINDOWS = 65535  # CUDA's attention kernels count them in 16 bits


@MODELS.register_module()
class WMCA(nn.Module):
    """Window-based multi-task cross-attention of M2H (arXiv 2510.17363).

    All tasks' tokens in a window of n x n pixels attend to each other: T tasks give T n^2 tokens
    per window, so the cost of attention is O(H W n^2 T^2 C), linear in the map's size. There is no
    encoding of position or task in the attention itself; what tells tasks apart are their own norms
    before and after it, so their order does not matter. The residual path starts at the
    *normalised* tokens, and the result is a norm's output.

    M2H-small: ``reduction=4, pooling=2``.

    The official code stores a shift and a dilation and uses neither, and its padding (zeros, at the
    bottom and right) takes part in the attention. That is the default here; ``shift_size``,
    ``dilation`` and ``mask_padding`` are the options, which the paper describes and which work.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the tasks, at least two. Filled in by the decoder.
        window_size: n in pixels, of all layers or of each. Default: 7.
        num_heads: attention heads; must divide the attention's channels, C / ``reduction``.
            Default: 4.
        num_layers: layers, one after the other. Default: 2.
        shift_size: pixels by which windows lie further down and right, below ``window_size *
            dilation``. One number:
            of every second layer, as in Swin; a sequence: of each layer. Pixels at opposite edges
            of the map never attend to each other. Default: 0.
        dilation: distance in pixels between the pixels that a window takes, of all layers or of
            each. Default: 1.
        mask_padding: keep the map's tokens from attending to padding. Default: False.
        ffn_ratio: hidden channels of the feed-forward network per channel. Default: 4.
        reduction: with more than 1, 1x1 convolutions (one per task) to and from C / ``reduction``
            channels around the layers. Default: 1.
        pooling: with more than 1, max pooling by that factor before the layers and bilinear
            upsampling after them. Default: 1.
        residual: hand on the maps themselves, and add to each what the exchange found, ``F_t + s_t
            * WMCA(F)_t``, with a factor s_t per task and channel that starts at 0 (LayerScale,
            arXiv 2103.17239): an untrained exchange then changes nothing. Default: False.
        pre_norm: norms before attention and feed-forward network, and an identity path past both,
            as in any recent transformer, in place of the official order. Default: False.

    Shapes: ``{task: (N, C, H, W)}`` kept.

    Raises:
        ValueError: fewer than two tasks, no layers, channels that heads or ``reduction`` do not
            divide, a per-layer option of the wrong length or range.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        window_size: int | Sequence[int] = 7,
        num_heads: int = 4,
        num_layers: int = 2,
        shift_size: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        mask_padding: bool = False,
        ffn_ratio: float = 4,
        reduction: int = 1,
        pooling: int = 1,
        residual: bool = False,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        if len(tasks) < 2:
            raise ValueError(
                'model.decoder.interaction (WMCA): expected at least two tasks, got '
                f"{list(tasks)}. Use interaction=dict(type='NoInteraction') for a single task."
            )
        if num_layers < 1:
            raise ValueError(
                'model.decoder.interaction.num_layers (WMCA): expected 1 or more, got '
                f"{num_layers}. Use interaction=dict(type='NoInteraction') for none."
            )
        require_divisible(
            'model.decoder.interaction (WMCA)', 'channels', channels, reduction, f'{reduction=}'
        )
        width = channels // reduction
        require_divisible(
            'model.decoder.interaction (WMCA)',
            'channels / reduction',
            width,
            num_heads,
            f'{num_heads=}',
        )
        self.tasks = tuple(tasks)
        self.window_sizes = _per_layer('window_size', window_size, num_layers, minimum=1)
        self.dilations = _per_layer('dilation', dilation, num_layers, minimum=1)
        if isinstance(shift_size, int):
            shift_size = [shift_size if layer % 2 else 0 for layer in range(num_layers)]
        self.shift_sizes = _per_layer('shift_size', shift_size, num_layers, minimum=0)
        for shift, size, step in zip(
            self.shift_sizes, self.window_sizes, self.dilations, strict=True
        ):
            if shift >= size * step:
                raise ValueError(
                    'model.decoder.interaction.shift_size (WMCA): expected less than window_size '
                    f'* dilation = {size * step}, got {shift}.'
                )
        self.mask_padding = mask_padding
        self.pooling = pooling
        self.pre_project = self.post_project = None
        if reduction > 1:
            self.pre_project = nn.ModuleDict(
                {task: nn.Conv2d(channels, width, 1) for task in tasks}
            )
            self.post_project = nn.ModuleDict(
                {task: nn.Conv2d(width, channels, 1) for task in tasks}
            )
        self.layers = nn.ModuleList(
            CrossTaskLayer(width, self.tasks, num_heads, ffn_ratio, pre_norm)
            for _ in range(num_layers)
        )
        self.scales = None
        if residual:
            self.scales = nn.ParameterDict({task: torch.zeros(channels, 1, 1) for task in tasks})

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        exchanged = self.exchange(maps)
        if self.scales is None:
            return exchanged
        return {task: maps[task] + self.scales[task] * exchanged[task] for task in self.tasks}

    def exchange(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the layers make of the maps, at their size."""
        size = tuple(maps[self.tasks[0]].shape[-2:])
        attended = self.attend(self.reduce(maps))
        attended = {task: resize(x, size, align_corners=True) for task, x in attended.items()}
        if self.post_project is None:
            return attended
        return {task: self.post_project[task](x) for task, x in attended.items()}

    def reduce(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The maps that the layers see: ``(N, C / reduction, H / pooling, W / pooling)``."""
        if self.pre_project is not None:
            maps = {task: self.pre_project[task](maps[task]) for task in self.tasks}
        if self.pooling > 1:
            maps = {task: F.max_pool2d(maps[task], self.pooling) for task in self.tasks}
        return maps

    def attend(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The layers, one after the other, each on windows of its own."""
        first = maps[self.tasks[0]]
        num = first.shape[0]  # not len(first), which an export would make a constant
        x = stack_tasks(maps, self.tasks)
        for layer, grid in zip(self.layers, self.grids(*first.shape[2:]), strict=True):
            mask = self.mask(grid, num, first.device)
            x = grid.merge(layer(grid.cut(x), mask), num)
        return unstack_tasks(x, self.tasks, first)

    def grids(self, height: int, width: int) -> list[WindowGrid]:
        """How each layer cuts a map of H x W pixels into windows."""
        options = zip(self.window_sizes, self.dilations, self.shift_sizes, strict=True)
        return [WindowGrid(height, width, *layer_options) for layer_options in options]

    def mask(self, grid: WindowGrid, num: int, device: torch.device) -> Tensor | None:
        """The attention mask ``(N * windows, 1, L, L)`` of N = ``num`` maps; None: nothing is
        hidden.
        """
        mask = grid.mask(len(self.tasks), device, self.mask_padding)
        return None if mask is None else mask.expand(num, -1, -1, -1).flatten(0, 1)[:, None]


class CrossTaskLayer(nn.Module):
    """Attention among all tokens of a window, then a feed-forward network; norms per task around
    the two.

    Args:
        channels: C.
        tasks: names, in the order of a pixel's tokens.
        num_heads: attention heads.
        ffn_ratio: hidden channels of the feed-forward network per channel.
        pre_norm: see :class:`WMCA`.

    Shapes: x ``(B, L, C)`` kept, B windows of L = pixels * T tokens; mask ``(B, 1, L, L)`` bool,
    True where a query (first) may attend to a key.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        num_heads: int,
        ffn_ratio: float,
        pre_norm: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pre_norm = pre_norm
        hidden = int(channels * ffn_ratio)
        self.norm1 = TaskLayerNorm(channels, tasks)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.ffn = FeedForward(channels, hidden)
        self.norm2 = TaskLayerNorm(channels, tasks)
        # As in nn.MultiheadAttention, which the official code starts from.
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.proj.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        # (B, L, 3 C) to queries, keys and values (3, B, heads, L, C / heads)
        normed = self.norm1(x)
        qkv = self.qkv(normed).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
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
        mask: ``(B, 1, L, L)`` bool, see :class:`CrossTaskLayer`.

    Returns:
        ``(B, heads, L, D)``.
    """
    # Lengths are compared on a GPU only: in an export for several sizes they are not known.
    if not qkv.is_cuda or qkv.shape[1] <= MAX_WINDOWS:
        return F.scaled_dot_product_attention(*qkv.unbind(0), attn_mask=mask)
    masks = repeat(None) if mask is None else mask.split(MAX_WINDOWS)
    parts = zip(qkv.split(MAX_WINDOWS, dim=1), masks, strict=False)
    return torch.cat([F.scaled_dot_product_attention(*x, attn_mask=part) for x, part in parts])


class TaskLayerNorm(nn.ModuleDict):
    """One layer norm per task.

    Args:
        channels: C.
        tasks: names of the T tasks, in the order of a pixel's tokens.

    Shapes: ``(B, pixels * T, C)`` kept, the T tokens of a pixel side by side.
    """

    def __init__(self, channels: int, tasks: Sequence[str]) -> None:
        super().__init__({task: nn.LayerNorm(channels) for task in tasks})

    def forward(self, x: Tensor) -> Tensor:
        by_task = x.unflatten(1, (-1, len(self))).unbind(2)
        normed = [norm(tokens) for norm, tokens in zip(self.values(), by_task, strict=True)]
        return torch.stack(normed, dim=2).flatten(1, 2)


def _per_layer(
    name: str, value: int | Sequence[int], num_layers: int, minimum: int
) -> tuple[int, ...]:
    values = (value,) * num_layers if isinstance(value, int) else tuple(value)
    if len(values) != num_layers or min(values, default=minimum) < minimum:
        raise ValueError(
            f'model.decoder.interaction.{name} (WMCA): expected an integer of at least '
            f'{minimum}, or one per layer ({num_layers}), got {value}.'
        )
    return values
