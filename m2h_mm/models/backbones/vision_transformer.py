"""The pre-norm transformer block of DINOv2 and its parts, under the official parameter names, and
what the transformers here share.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from m2h_mm.models.layers.feed_forward import MLP

LAYER_NORM_EPS = 1e-6


class PatchEmbedding(nn.Module):
    """Image ``(N, 3, H, W)`` to patch tokens ``(N, H / P * W / P, C)``, row-major.

    Args:
        in_channels: channels of the image.
        embed_dims: C.
        patch_size: P, in pixels; even where there is a stem.
        stem_channels: channels of 3x3 convolutions before the patches are cut, the first with
            stride 2. A transformer trained from scratch learns faster behind them (Xiao et al.,
            NeurIPS 2021). DINOv2 has none.
    """

    def __init__(
        self, in_channels: int, embed_dims: int, patch_size: int, stem_channels: Sequence[int] = ()
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in stem_channels:
            layers += [
                nn.Conv2d(
                    in_channels, channels, 3, stride=1 if layers else 2, padding=1, bias=False
                ),
                nn.BatchNorm2d(channels),
                nn.GELU(),
            ]
            in_channels = channels
        self.stem = nn.Sequential(*layers)
        patch_size //= 2 if layers else 1
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, stride=patch_size)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(self.stem(image)).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention on tokens ``(N, L, C)`` with one fused kernel."""

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """Gated feed-forward network (arXiv 2002.05202) on tokens ``(N, L, C)``.

    The hidden width is two thirds of ``hidden_dims``, rounded up to a multiple of 8, which keeps
    the number of parameters of an :class:`MLP` of that width.
    """

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        hidden_dims = (int(hidden_dims * 2 / 3) + 7) // 8 * 8
        self.w12 = nn.Linear(embed_dims, 2 * hidden_dims)
        self.w3 = nn.Linear(hidden_dims, embed_dims)

    def forward(self, tokens: Tensor) -> Tensor:
        gate, value = self.w12(tokens).chunk(2, dim=-1)
        return self.w3(F.silu(gate) * value)


class LayerScale(nn.Module):
    """``residual + gamma * branch`` with one learned factor per channel, as a single kernel."""

    def __init__(self, embed_dims: int, init_value: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((embed_dims,), float(init_value)))

    def forward(self, residual: Tensor, branch: Tensor) -> Tensor:
        return torch.addcmul(residual, branch, self.gamma)


FEED_FORWARDS = {'mlp': MLP, 'swiglu': SwiGLU}


class Block(nn.Module):
    """``x + g1 * Attention(LN(x))``, then ``x + g2 * FeedForward(LN(x))``, on tokens ``(N, L, C)``.

    Args:
        embed_dims: C.
        num_heads: attention heads; must divide C.
        ffn: feed-forward network, ``'mlp'`` or ``'swiglu'``.
        mlp_ratio: hidden width of the feed-forward network as a multiple of C.
        init_values: initial value of both LayerScales.
        drop_path: probability that a sample skips a branch in training.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        ffn: str,
        mlp_ratio: float,
        init_values: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.attn = Attention(embed_dims, num_heads)
        self.ls1 = LayerScale(embed_dims, init_values)
        self.norm2 = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.mlp = FEED_FORWARDS[ffn](embed_dims, int(embed_dims * mlp_ratio))
        self.ls2 = LayerScale(embed_dims, init_values)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.ls1(tokens, self.drop_path(self.attn(self.norm1(tokens))))
        return self.ls2(tokens, self.drop_path(self.mlp(self.norm2(tokens))))


def split_tokens(
    tokens: Tensor, num_registers: int, grid: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The class token ``(N, C)``, the registers ``(N, R, C)`` and the map ``(N, C, h, w)`` in a
    sequence ``(N, 1 + R + h * w, C)``.
    """
    patches = tokens[:, 1 + num_registers :]
    x = patches.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)
    return tokens[:, 0], tokens[:, 1 : 1 + num_registers], x


def init_linears(module: nn.Module) -> None:
    """Weights of all linear layers anew, for a training from scratch."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
