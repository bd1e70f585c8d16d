"""DINOv2 (arXiv 2304.07193) without registers, attention written out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 14


class DINOv2(nn.Module):
    """Vision transformer with patches of 14 px.

    Args:
        embed_dim: C.
        depth: number of blocks.
        num_heads: attention heads; divide C.
        img_size: side in pixels of the image that the stored position embedding belongs to.
        outputs: blocks whose outputs are returned, from 0.

    Shapes: image ``(N, 3, H, W)``, H and W multiples of 14, to a list of pairs: map ``(N, C, H /
    14, W / 14)`` and class token ``(N, C)``, without the final norm.
    """

    def __init__(
        self,
        embed_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        img_size: int = 518,
        outputs: Sequence[int] = (2, 5, 8, 11),
    ) -> None:
        super().__init__()
        self.native = img_size // PATCH
        self.outputs = tuple(outputs)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 1 + self.native**2, embed_dim))
        # No output depends on the mask token and the norm; the checkpoints have them.
        self.mask_token = nn.Parameter(torch.zeros(1, embed_dim))
        self.patch_embed = PatchEmbedding(embed_dim)
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        height, width = image.shape[2] // PATCH, image.shape[3] // PATCH
        patches = self.patch_embed(image)
        tokens = torch.cat([self.cls_token.expand(len(image), -1, -1), patches], dim=1)
        tokens = tokens + self.position_embedding(height, width)
        outputs = []
        for index, block in enumerate(self.blocks):
            tokens = block(tokens)
            if index in self.outputs:
                patches = tokens[:, 1:].transpose(1, 2).reshape(len(image), -1, height, width)
                outputs.append((patches, tokens[:, 0]))
        return outputs

    def position_embedding(self, height: int, width: int) -> Tensor:
        """``(1, 1 + height * width, C)``: the patches' part resampled to their grid, bicubic, in
        float32.

        The scale factors carry an offset of 0.1 patches, and define where the samples are taken.
        """
        if height == width == self.native:
            return self.pos_embed
        cls_entry, patches = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        patches = patches.float().transpose(1, 2).reshape(1, -1, self.native, self.native)
        scale = ((height + 0.1) / self.native, (width + 0.1) / self.native)
        patches = F.interpolate(patches, scale_factor=scale, mode='bicubic')
        patches = patches.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)
        return torch.cat([cls_entry, patches], dim=1)


class PatchEmbedding(nn.Module):
    """Image ``(N, 3, H, W)`` to tokens ``(N, H / 14 * W / 14, C)``, row-major."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, PATCH, stride=PATCH)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """``x + g1 * Attention(LN(x))``, then ``x + g2 * MLP(LN(x))``, on tokens ``(N, L, C)``."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=1e-6)
        self.attn = Attention(embed_dim, num_heads)
        self.ls1 = LayerScale(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim, eps=1e-6)
        self.mlp = MLP(embed_dim)
        self.ls2 = LayerScale(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class Attention(nn.Module):
    """``softmax(q k^T / sqrt(d)) v`` per head of d channels."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, channels = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, channels // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / math.sqrt(channels // self.num_heads)).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, length, channels))


class MLP(nn.Module):
    """Two linear layers with a GELU between, four times as wide inside."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, 4 * embed_dim)
        self.fc2 = nn.Linear(4 * embed_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    """One learned factor per channel."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma
