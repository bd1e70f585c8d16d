"""The transformer block of TaskPrompter, in which task prompts attend beside the patches."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.models.backbones.vision_transformer import LAYER_NORM_EPS, Attention
from m2h_mm.models.layers.feed_forward import MLP
from m2h_mm.models.layers.resize import resize
from m2h_mm.structures.shapes import known_equal


class PromptLogits(NamedTuple):
    """How the prompts of T tasks relate to what a block looks at, not scaled and before any
    softmax.

    Attributes:
        spatial: to the prompts and the patches, per head: ``(N, heads, T, T + h * w)``.
        channel: to each channel within each of R x S windows: ``(N, T, C, R, S)``.
    """

    spatial: Tensor
    channel: Tensor


class PromptAttention(Attention):
    """Self-attention over prompts and patches, and what the prompts read from and give to channels
    (TaskPrompter, "spatial-channel task prompting").

    A prompt is also turned into a value for every position, a map. The product of this map and a
    channel, summed over a window, is the prompt's channel logit; the map turned back into C values
    is added to the prompt.

    Args:
        embed_dims: C.
        num_heads: attention heads; must divide C.
        num_prompts: T, the first T tokens.
        grid: (h, w) of the positions that a prompt is turned into.
        windows: (R, S), windows down and across.
        yields_logits: whether they are computed.
        last: nothing comes after that sees the prompts; their maps are then not turned back.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_prompts: int,
        grid: tuple[int, int],
        windows: tuple[int, int],
        yields_logits: bool,
        last: bool,
    ) -> None:
        super().__init__(embed_dims, num_heads)
        self.num_prompts, self.grid, self.windows = num_prompts, grid, windows
        self.yields_logits = yields_logits
        positions = grid[0] * grid[1]
        self.to_positions = nn.Linear(embed_dims, positions)
        self.from_positions = None if last else nn.Linear(positions, embed_dims)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, PromptLogits | None]:
        """
        Args:
            tokens: normalised, ``(N, T + H * W, C)``.
            grid: (H, W) of the patches, multiples of R and S.
        """
        query, key, value = (
            self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = self.proj(attended.transpose(1, 2).flatten(2))
        prompts, patches = tokens[:, : self.num_prompts], tokens[:, self.num_prompts :]
        maps = self.to_positions(prompts)
        if self.from_positions is not None:
            of_prompts = attended[:, : self.num_prompts] + self.from_positions(maps)
            attended = torch.cat([of_prompts, attended[:, self.num_prompts :]], dim=1)
        if not self.yields_logits:
            return attended, None
        spatial = query[:, :, : self.num_prompts] @ key.transpose(2, 3)
        return attended, PromptLogits(spatial, self.channel_logits(maps, patches, grid))

    def channel_logits(self, maps: Tensor, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """``(N, T, C, R, S)`` from the prompts' maps ``(N, T, h * w)`` and the patches
        ``(N, H * W, C)``.

        At another grid than the one that the prompts are turned into, the maps are resized, and the
        sums are scaled to as many positions as a window has there.
        """
        maps = maps.unflatten(2, self.grid)
        if not all(known_equal(side, own) for side, own in zip(grid, self.grid, strict=True)):
            share = self.grid[0] * self.grid[1] / (grid[0] * grid[1])
            maps = resize(maps, grid) * share
        rows, columns = self.windows
        height, width = grid[0] // rows, grid[1] // columns
        maps = maps.unflatten(3, (columns, width)).unflatten(2, (rows, height))
        patches = patches.unflatten(1, (rows, height, columns, width))
        return torch.einsum('ntrysx,nrysxc->ntcrs', maps, patches)


class PromptedBlock(nn.Module):
    """``x + Attention(LN(x))``, then ``x + MLP(LN(x))``, on the tokens ``(N, T + H * W, C)`` of
    prompts and patches, which share norms and MLP. Arguments: see :class:`PromptAttention`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        num_prompts: int,
        grid: tuple[int, int],
        windows: tuple[int, int],
        yields_logits: bool,
        last: bool,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.attn = PromptAttention(
            embed_dims, num_heads, num_prompts, grid, windows, yields_logits, last
        )
        self.norm2 = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.mlp = MLP(embed_dims, 4 * embed_dims)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, PromptLogits | None]:
        attended, logits = self.attn(self.norm1(tokens), grid)
        tokens = tokens + attended
        return tokens + self.mlp(self.norm2(tokens)), logits
