"""Deformable mixer: each task samples its map where it wants to, then asks all tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.layers.conv import require_divisible
from m2h_mm.models.layers.feed_forward import FeedForward
from m2h_mm.registry import MODELS

KEY = 'model.decoder.interaction'
KERNEL = 3


@MODELS.register_module()
class DeformableMixer(nn.Module):
    """Deformable mixer and task-aware attention of DeMT (Xu et al., AAAI 2023, arXiv 2301.03461).

    ``y_t = x_t + s_t * f_t``. The map of each task first goes through ``depth``
    :class:`DeformableMixing` s, which mix channels and sample where the task learns to look:
    ``d_t``. The *task interaction block* is a transformer layer among the tokens of all tasks:
    ``F' = F + attention(LN(F))``, ``F'' = F' + FFN(LN(F'))``. In the *task query block* every
    position of ``d_t`` asks them: ``u_t = d_t + attention(LN(d_t), LN(F''))``, queries first, and
    ``f_t = u_t + FFN(LN(u_t))``. Queries have a layer norm of their own everywhere.

    Read were the paper's abstract and its summary of the parts: channel-aware mixing, spatial-aware
    deformable sampling, repeated d times for each task; self-attention among all tasks' features;
    deformed features as queries. What follows was decided here. The sampling is depthwise, since
    the other operator mixes channels, with one pair of offsets per tap and position for all
    channels; no compiled operator is used. The tokens ``F`` are means of ``d_t`` over a grid of P x
    P cells per task, whatever the map's size: attention is linear in the area. Norms, activations
    and residual paths inside are those of a plain transformer and of ConvMixer. The interaction
    block is shared by all tasks; mixing and query block are the task's own. Nothing encodes a
    position or a task, so that the tasks' order does not matter. ``x_t`` and the small ``s_t`` are
    this project's, so that the exchange begins close to no change.

    Multiply-adds per pixel and task: ``d (C^2 + 208 C)`` for mixing, ``2 C^2 + 2 T P^2 C`` for the
    query's attention, ``2 r C^2`` for its feed-forward network; the interaction block adds a number
    that does not depend on the area.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks, one or more. Filled in by the decoder.
        depth: d, mixings one after the other. Default: 1.
        num_heads: attention heads; must divide C. Default: 4.
        grid_size: P, cells of the grid in each direction. Default: 7.
        ffn_ratio: r, hidden channels of both feed-forward networks per channel. Default: 2.
        layer_scale: what the learned factors s_t, one per task and channel, start at
            (LayerScale, arXiv 2103.17239). Default: 0.1.

    Shapes: ``{task: (N, C, H, W)}`` kept.

    Raises:
        ValueError: channels that heads do not divide, ``depth`` or ``grid_size`` below 1.
    """

    def __init__(
        self,
        channels: int,
        tasks: Sequence[str],
        depth: int = 1,
        num_heads: int = 4,
        grid_size: int = 7,
        ffn_ratio: float = 2,
        layer_scale: float = 0.1,
    ) -> None:
        super().__init__()
        owner = f'{KEY} (DeformableMixer)'
        require_divisible(owner, 'channels', channels, num_heads, f'{num_heads=}')
        for name, value in dict(depth=depth, grid_size=grid_size).items():
            if value < 1:
                raise ValueError(f'{owner}: expected {name} of at least 1, got {value}.')
        self.tasks = tuple(tasks)
        self.grid_size = grid_size

        def block() -> AttentionBlock:
            return AttentionBlock(channels, num_heads, int(channels * ffn_ratio))

        self.mixing = nn.ModuleDict(
            {
                task: nn.Sequential(*(DeformableMixing(channels) for _ in range(depth)))
                for task in self.tasks
            }
        )
        self.interaction = block()
        self.query = nn.ModuleDict({task: block() for task in self.tasks})
        self.scales = nn.ParameterDict(
            {task: torch.full((channels, 1, 1), float(layer_scale)) for task in self.tasks}
        )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        deformed = {task: self.mixing[task](maps[task]) for task in self.tasks}
        cells = [_tokens(mean_of_cells(deformed[task], self.grid_size)) for task in self.tasks]
        heard = self.interaction(torch.cat(cells, dim=1))
        size = maps[self.tasks[0]].shape[2:]
        exchanged = {}
        for task, x in deformed.items():
            found = self.query[task](_tokens(x), heard).transpose(1, 2).unflatten(2, size)
            exchanged[task] = maps[task] + self.scales[task] * found
        return exchanged


class DeformableMixing(nn.Module):
    """``a = x + BN(GELU(conv1(x)))``, then ``a + BN(GELU(D(a)))`` with :class:`DeformableConv` D.

    Args:
        channels: C.

    Shapes: ``(N, C, H, W)`` kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)
        self.mix_norm = nn.BatchNorm2d(channels)
        self.sample = DeformableConv(channels)
        self.sample_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix_norm(F.gelu(self.mix(x)))
        return x + self.sample_norm(F.gelu(self.sample(x)))


class DeformableConv(nn.Module):
    """A depthwise 3x3 convolution whose taps are moved (Dai et al., arXiv 1703.06211, eq. 2).

    ``y_c(p) = b_c + sum_k w_ck x_c(p + p_k + o_k(p))`` with offsets ``o = conv3(x)`` in pixels, a
    pair per tap k and position p. Between pixels x is bilinear, outside of the map it is 0. The
    offsets start at 0: a plain depthwise convolution.

    Positions are computed in float32 at least: in bfloat16 they would be off by pixels.

    Args:
        channels: C.

    Shapes: ``(N, C, H, W)`` kept.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        taps = KERNEL**2
        self.offset = nn.Conv2d(channels, 2 * taps, KERNEL, padding=KERNEL // 2)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)
        plain = nn.Conv2d(channels, channels, KERNEL, groups=channels)
        self.weight, self.bias = nn.Parameter(plain.weight[:, 0].detach()), plain.bias

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        dtype = torch.promote_types(x.dtype, torch.float32)
        # (N, taps, H, W) each: how far right and how far down.
        right, down = self.offset(x).to(dtype).unflatten(1, (2, -1)).unbind(1)
        tap = torch.arange(KERNEL, dtype=dtype, device=x.device) - KERNEL // 2
        column = torch.arange(width, dtype=dtype, device=x.device)
        row = torch.arange(height, dtype=dtype, device=x.device)
        right = right + tap.repeat(KERNEL)[:, None, None] + column
        down = down + tap.repeat_interleave(KERNEL)[:, None, None] + row[:, None]
        # grid_sample has the map's outer edges at -1 and 1.
        grid = torch.stack([(2 * right + 1) / width - 1, (2 * down + 1) / height - 1], dim=-1)
        # The taps' maps lie below each other.
        sampled = F.grid_sample(x.to(dtype), grid.flatten(1, 2), align_corners=False)
        sampled = sampled.unflatten(2, (KERNEL**2, -1))
        taken = torch.einsum('nckhw,ck->nchw', sampled, self.weight.flatten(1).to(dtype))
        return taken.to(x.dtype) + self.bias.to(x.dtype)[:, None, None]


class AttentionBlock(nn.Module):
    """``u = x + proj(attention(q(LN(x)), kv(LN(y))))``, then ``u + FFN(LN(u))``.

    Args:
        channels: C.
        num_heads: attention heads.
        hidden_channels: of the feed-forward network.

    Shapes: x ``(N, L, C)`` kept; y ``(N, M, C)``, what is listened to, by default x itself.
    """

    def __init__(self, channels: int, num_heads: int, hidden_channels: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(channels)
        self.heard_norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        self.ffn_norm = nn.LayerNorm(channels)
        self.ffn = FeedForward(channels, hidden_channels)

    def forward(self, x: Tensor, heard: Tensor | None = None) -> Tensor:
        query = self.query(self.norm(x)).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        key_value = self.key_value(self.heard_norm(x if heard is None else heard))
        key, value = key_value.unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(query, key, value)
        x = x + self.proj(out.transpose(1, 2).flatten(2))
        return x + self.ffn(self.ffn_norm(x))


def mean_of_cells(x: Tensor, grid_size: int) -> Tensor:
    """Means over the cells of a grid that covers the map, ``(N, C, H, W)`` to ``(N, C, P, P)``.

    Cells are equally large; a pixel on the edge of a cell counts by the part that lies in it. In a
    file that is exported for any size, adaptive pooling would keep the cells of one size; this does
    not.
    """
    rows, columns = (_share_of_cells(length, grid_size, x) for length in x.shape[2:])
    return rows @ x @ columns.t()


def _share_of_cells(length: int, cells: int, like: Tensor) -> Tensor:
    """How much of each cell is each pixel, ``(cells, length)``, rows with a sum of 1."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    pixel = torch.arange(length, dtype=dtype, device=like.device)
    cell = torch.arange(cells, dtype=dtype, device=like.device)[:, None]
    begin, end = cell * length / cells, (cell + 1) * length / cells
    overlap = (torch.minimum(pixel + 1, end) - torch.maximum(pixel, begin)).clamp(min=0)
    return (overlap * cells / length).to(like.dtype)


def _tokens(x: Tensor) -> Tensor:
    """``(N, C, H, W)`` to ``(N, H W, C)``."""
    return x.flatten(2).transpose(1, 2)
