"""The plain vision transformer as a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from m2h_mm.models.layers.feed_forward import MLP
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features
from m2h_mm.structures.shapes import known_equal

from .architectures import patch_grid, quarters
from .backbone_checkpoint import CONFIG_KEY, load_backbone_weights
from .dinov2_checkpoint import describe_vit, read_backbone_checkpoint
from .position_embedding import resample_bicubic
from .staged_backbone import StagedBackbone
from .vision_transformer import LAYER_NORM_EPS, Attention, PatchEmbedding, init_linears

PATCH_SIZE = 16
ARCHITECTURES = {
    'tiny': dict(embed_dims=192, depth=12, num_heads=3),
    'small': dict(embed_dims=384, depth=12, num_heads=6),
    'base': dict(embed_dims=768, depth=12, num_heads=12),
    'large': dict(embed_dims=1024, depth=24, num_heads=16),
}


class PlainBlock(nn.Module):
    """``x + Attention(LN(x))``, then ``x + MLP(LN(x))``, on tokens ``(N, L, C)``: DINOv2's block
    without LayerScale.
    """

    def __init__(self, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.attn = Attention(embed_dims, num_heads)
        self.norm2 = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.mlp = MLP(embed_dims, 4 * embed_dims)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


@MODELS.register_module()
class ViT(StagedBackbone):
    """Plain vision transformer with patches of 16 px (arXiv 2010.11929), the backbone of InvPT.

    Parameters have the names of timm's ``vit_*_patch16_*`` models, which are also those of InvPT's
    checkpoints.

    Args:
        arch (str | dict): ``'tiny'``, ``'small'``, ``'base'``, ``'large'``, or a dict with
            ``embed_dims``, ``depth`` and ``num_heads``. Default ``'large'``.
        out_indices (Sequence[int], optional): blocks whose outputs are returned, ascending from 0;
            the last one is the last block. Default: four, a quarter of the depth apart, for large
                (5, 11, 17, 23).
        img_size (int | tuple): (height, width), or the side of a square, of the image that the
            stored position embedding belongs to, in pixels, multiples of 16. Default 384.
        frozen_stages (int): 0 freezes the embedding, n the embedding and the first n blocks, see
            :class:`StagedBackbone`; the whole is frozen by ``model.freeze_backbone``.
            Default -1: nothing.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)`` with a path or URL of
            a state dict of timm's model (``.pth``). Its position embedding is resampled from a
            square to ``img_size``; one whose number of patches is no square must already be of that
            size. None: initialised from scratch. Read by ``init_weights``.

    Input: images ``(N, 3, H, W)``, normalised, H and W multiples of 16. At other sizes than
    ``img_size`` the position embedding is resampled (bicubic).

    Output: :class:`Features`: ``maps``, one ``(N, C, H / 16, W / 16)`` per out index, and
    ``cls_tokens``, one ``(N, C)`` each: the blocks' plain outputs but for the last one, which has
    passed the final LayerNorm.

    Raises:
        ValueError: an argument out of range; an image whose sides are no multiples of 16; a
            checkpoint of another architecture. FileNotFoundError, ConnectionError: the checkpoint
            cannot be had.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'large',
        out_indices: Sequence[int] | None = None,
        img_size: int | Sequence[int] = 384,
        frozen_stages: int = -1,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(frozen_stages, init_cfg)
        embed_dims, depth, num_heads = plain_architecture(arch)
        self.out_indices = output_blocks(out_indices, depth)
        self.grid = native_grid(img_size, PATCH_SIZE)
        self.out_channels = (embed_dims,) * len(self.out_indices)
        self.strides = (PATCH_SIZE,) * len(self.out_indices)
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dims))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], embed_dims))
        self.patch_embed = PatchEmbedding(3, embed_dims, PATCH_SIZE)
        self.blocks = nn.ModuleList(PlainBlock(embed_dims, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self._init_tokens()
        self.freeze_stages()

    def forward(self, image: Tensor) -> Features:
        grid = patch_grid(image, PATCH_SIZE, 'ViT')
        with self.grad_mode(0):
            tokens = self.embed(image)
        maps, cls_tokens = [], []
        for index, block in enumerate(self.blocks):
            with self.grad_mode(index + 1):
                tokens = block(tokens)
            if index in self.out_indices:
                output = self.norm(tokens) if index == self.out_indices[-1] else tokens
                cls_tokens.append(output[:, 0])
                maps.append(output[:, 1:].transpose(1, 2).unflatten(2, grid))
        return Features(maps=tuple(maps), cls_tokens=tuple(cls_tokens))

    def embed(self, image: Tensor) -> Tensor:
        """Tokens that enter the first block, class token first, ``(N, 1 + H / 16 * W / 16, C)``."""
        grid = patch_grid(image, PATCH_SIZE, 'ViT')
        patches = self.patch_embed(image)
        positions = resample_positions(self.pos_embed, self.grid, grid)
        return torch.cat([self.cls_token.expand(len(image), -1, -1), patches], dim=1) + positions

    def init_weights(self) -> None:
        """Load ``init_cfg.checkpoint``, or initialise from scratch where there is none."""
        if self.init_cfg:
            checkpoint = str(self.init_cfg['checkpoint'])
            state = read_backbone_checkpoint(checkpoint, official='')
            state['pos_embed'] = fit_positions(state['pos_embed'], self.grid, checkpoint)
            load_backbone_weights(self, state, checkpoint, (), describe_vit)
        else:
            self.warn_of_random_frozen_stages()
            self._init_tokens()
            init_linears(self)
        self.is_init = True

    def _init_tokens(self) -> None:
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)


def resample_positions(pos_embed: Tensor, native: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """A position embedding at another patch grid, bicubic in float32; the class token's entry is
    kept.

    Args:
        pos_embed: ``(1, 1 + h * w, C)``.
        native: its (h, w).
        grid: the (H, W) wanted.

    Returns:
        ``(1, 1 + H * W, C)`` in the dtype of ``pos_embed``; ``pos_embed`` itself where the grids
        are equal.
    """
    if all(known_equal(length, own) for length, own in zip(grid, native, strict=True)):
        return pos_embed
    cls_entry, patches = pos_embed.float().split([1, native[0] * native[1]], dim=1)
    resampled = resample_bicubic(patches[0].unflatten(0, native), grid)
    return torch.cat([cls_entry, resampled.flatten(0, 1)[None]], dim=1).to(pos_embed.dtype)


def fit_positions(pos_embed: Tensor, grid: tuple[int, int], checkpoint: str) -> Tensor:
    """The position embedding of a checkpoint, resampled from a square to a patch grid.

    Args:
        pos_embed: ``(1, 1 + L, C)``.
        grid: the (H, W) wanted.
        checkpoint: where it is from, for the message.

    Returns:
        ``(1, 1 + H * W, C)``.

    Raises:
        ValueError: L is neither a square nor H * W.
    """
    count = pos_embed.shape[1] - 1
    native = isqrt(count)
    if native**2 == count:
        return resample_positions(pos_embed, (native, native), grid)
    if count != grid[0] * grid[1]:
        raise ValueError(
            f'{CONFIG_KEY}: {checkpoint} has a position embedding of {count} patches, which is no '
            f'square and not the {grid[0]}x{grid[1]} of model.backbone.img_size. Set img_size to '
            "the checkpoint's."
        )
    return pos_embed


def plain_architecture(arch: str | Mapping[str, Any]) -> tuple[int, int, int]:
    """``embed_dims``, ``depth`` and ``num_heads`` of a configured architecture.

    Raises:
        ValueError: an unknown name, other keys, or heads that do not divide the channels.
    """
    if isinstance(arch, str) and arch not in ARCHITECTURES:
        raise ValueError(
            f'model.backbone.arch must be one of {sorted(ARCHITECTURES)} or a dict, got {arch!r}.'
        )
    settings = ARCHITECTURES[arch] if isinstance(arch, str) else arch
    if set(settings) != {'embed_dims', 'depth', 'num_heads'}:
        raise ValueError(
            'model.backbone.arch as a dict must have embed_dims, depth and num_heads, got '
            f'{sorted(settings)}.'
        )
    embed_dims, depth, num_heads = (settings[name] for name in ('embed_dims', 'depth', 'num_heads'))
    if embed_dims % num_heads:
        raise ValueError(
            f'model.backbone.arch: num_heads={num_heads} must divide embed_dims={embed_dims}.'
        )
    return embed_dims, depth, num_heads


def output_blocks(out_indices: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """The blocks whose outputs are returned, the last block among them; None: four.

    Raises:
        ValueError: they are no ascending numbers of blocks that end with the last one.
    """
    if out_indices is None:
        return quarters(depth)
    indices = tuple(out_indices)
    if (
        not indices
        or list(indices) != sorted(set(indices))
        or indices[0] < 0
        or indices[-1] != depth - 1
    ):
        raise ValueError(
            'model.backbone.out_indices must be ascending block numbers from 0, the last one '
            f'{depth - 1}, the last block, got {indices}.'
        )
    return indices


def native_grid(img_size: int | Sequence[int], patch_size: int) -> tuple[int, int]:
    """Rows and columns of the patches of a configured image size.

    Raises:
        ValueError: a side is no positive multiple of ``patch_size``.
    """
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if min(height, width) <= 0 or height % patch_size or width % patch_size:
        raise ValueError(
            f'model.backbone.img_size must be a multiple of {patch_size}, or two, got {img_size}.'
        )
    return height // patch_size, width // patch_size
