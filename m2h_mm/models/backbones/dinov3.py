"""The DINOv3 vision transformer as a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

from .architectures import architecture, block_numbers, patch_grid
from .dinov3_checkpoint import load_dinov3_weights
from .rotary_embedding import RotaryEmbedding, rotate
from .staged_backbone import StagedBackbone
from .vision_transformer import (
    FEED_FORWARDS,
    LayerScale,
    PatchEmbedding,
    init_linears,
    split_tokens,
)

PATCH_SIZE = 16
LAYER_NORM_EPS = 1e-5  # DINOv2 has 1e-6
ARCHITECTURES = {
    'tiny': dict(
        embed_dims=192, depth=4, num_heads=3, stem_channels=(32, 32, 64), out_indices=(0, 1, 2, 3)
    ),
    'small': dict(embed_dims=384, depth=12, num_heads=6, out_indices=(2, 5, 8, 11)),
    'small_plus': dict(
        embed_dims=384,
        depth=12,
        num_heads=6,
        ffn='swiglu',
        mlp_ratio=6,
        out_indices=(2, 5, 8, 11),
    ),
    'base': dict(embed_dims=768, depth=12, num_heads=12, out_indices=(2, 5, 8, 11)),
    'large': dict(embed_dims=1024, depth=24, num_heads=16, out_indices=(4, 11, 17, 23)),
    'huge_plus': dict(
        embed_dims=1280,
        depth=32,
        num_heads=20,
        ffn='swiglu',
        mlp_ratio=6,
        out_indices=(7, 15, 23, 31),
    ),
    '7b': dict(
        embed_dims=4096,
        depth=40,
        num_heads=32,
        ffn='swiglu',
        mlp_ratio=3,
        qkv_bias=False,
        out_indices=(9, 19, 29, 39),
    ),
}
# What an architecture may leave out.
OPTIONAL = dict(ffn='mlp', mlp_ratio=4, qkv_bias=True, stem_channels=())


class RotaryAttention(nn.Module):
    """Multi-head self-attention on tokens ``(N, L, C)`` whose queries and keys are rotated.

    The keys have no bias. The projections are layers of their own, so that an adapter can be put
    around each.

    Args:
        embed_dims: C.
        num_heads: attention heads; must divide C.
        qkv_bias: whether queries and values have a bias.
    """

    def __init__(self, embed_dims: int, num_heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.k_proj = nn.Linear(embed_dims, embed_dims, bias=False)
        self.v_proj = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def forward(self, tokens: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        query, key, value = (
            layer(tokens).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = F.scaled_dot_product_attention(
            rotate(query, cos, sin), rotate(key, cos, sin), value
        )
        return self.proj(attended.transpose(1, 2).flatten(2))


class RotaryBlock(nn.Module):
    """``x + g1 * Attention(LN(x))``, then ``x + g2 * FeedForward(LN(x))``, on tokens ``(N, L, C)``.

    Args:
        arch: the architecture with all of its settings.
        init_values: initial value of both LayerScales.
        drop_path: probability that a sample skips a branch in training.
    """

    def __init__(self, arch: Mapping[str, Any], init_values: float, drop_path: float) -> None:
        super().__init__()
        embed_dims = arch['embed_dims']
        self.norm1 = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.attn = RotaryAttention(embed_dims, arch['num_heads'], arch['qkv_bias'])
        self.ls1 = LayerScale(embed_dims, init_values)
        self.norm2 = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.mlp = FEED_FORWARDS[arch['ffn']](embed_dims, int(embed_dims * arch['mlp_ratio']))
        self.ls2 = LayerScale(embed_dims, init_values)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """``cos`` and ``sin`` as :class:`RotaryEmbedding` returns them."""
        attended = self.attn(self.norm1(tokens), cos, sin)
        tokens = self.ls1(tokens, self.drop_path(attended))
        return self.ls2(tokens, self.drop_path(self.mlp(self.norm2(tokens))))


@MODELS.register_module()
class DINOv3(StagedBackbone):
    """DINOv3 vision transformer with patches of 16 px (arXiv 2508.10104).

    Its tokens have no position embedding; queries and keys are rotated by the place of their patch
    (:class:`RotaryEmbedding`). So there is no native size: the network takes any image whose sides
    are multiples of 16.

    Args:
        arch (str | dict): ``'small'``, ``'small_plus'``, ``'base'``, ``'large'``, ``'huge_plus'``,
            ``'7b'``; ``'tiny'`` (192 channels, 4 blocks behind three convolutions; no official
            weights, for tests and quick runs from scratch); or a dict with ``embed_dims``,
            ``depth``, ``num_heads`` and optionally ``ffn`` (``'mlp'`` | ``'swiglu'``, default
            ``'mlp'``), ``mlp_ratio`` (default 4; of ``'swiglu'`` two thirds of it count),
            ``qkv_bias`` (bias of queries and values, default True) and ``stem_channels`` (see
            :class:`PatchEmbedding`, default none). Default ``'small'``.
        out_indices (Sequence[int], optional): blocks whose outputs are returned, ascending from 0.
            Default: small and base (2, 5, 8, 11), large (4, 11, 17, 23), huge_plus (7, 15, 23, 31),
            7b (9, 19, 29, 39), tiny (0, 1, 2, 3); required where ``arch`` is a dict.
        num_registers (int): register tokens; the official weights have 4. Default 4.
        final_norm (bool | str): True applies the final LayerNorm to every output; ``'last'`` to
            that of the last block alone, as transformers 4.56.0 to 4.57.1 return the hidden states.
            Default False.
        rope_base (float): base of the periods of the rotation. Default 100.
        rope_shift (float, optional): in training, coordinates of patches are moved at random, see
            :class:`RotaryEmbedding`. Default: not.
        rope_jitter (float, optional): likewise, each axis stretched by itself. Default: not.
        rope_rescale (float, optional): likewise, both stretched by one factor. Default 2.0, as
            the official models have it in train mode. A backbone that ``model.freeze_backbone``
            freezes is in eval mode, in which nothing is drawn.
        frozen_stages (int): 0 freezes the embedding, n the embedding and the first n blocks, see
            :class:`StagedBackbone`; the whole is frozen by ``model.freeze_backbone``.
            Default -1: nothing.
        init_values (float): initial value of LayerScale where no checkpoint is loaded. Default 1.0.
        drop_path_rate (float): stochastic depth of the last block, growing linearly from 0 at the
            first; trainable blocks in training only. Default 0.
        in_channels (int): channels of the image. Default 3.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)`` with a path or URL
            of a file of the authors, of one of Hugging Face, or of any checkpoint with this
            backbone in it; or ``'official'``, which stands for the authors' file for ``arch`` in
            torch.hub's cache. It is not downloaded: the authors give their files to those who
            agree to the DINOv3 licence. None: initialised from scratch. Read by ``init_weights``,
            so a model that is only tested from its own checkpoint needs no file here.

    Input: images ``(N, in_channels, H, W)``, normalised, H and W multiples of 16.

    Output: :class:`Features`: ``maps``, one ``(N, C, H / 16, W / 16)`` per out index,
    ``cls_tokens``, one ``(N, C)`` each, and with registers ``register_tokens``, one ``(N, R, C)``
    each.

    Raises:
        ValueError: an argument out of range; an image whose sides are no multiples of 16; a
            checkpoint of another architecture. FileNotFoundError, ConnectionError: the checkpoint
            cannot be had.
    """

    CHECKPOINTS = "'official' | path | URL"

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'small',
        out_indices: Sequence[int] | None = None,
        num_registers: int = 4,
        final_norm: bool | str = False,
        rope_base: float = 100.0,
        rope_shift: float | None = None,
        rope_jitter: float | None = None,
        rope_rescale: float | None = 2.0,
        frozen_stages: int = -1,
        init_values: float = 1.0,
        drop_path_rate: float = 0.0,
        in_channels: int = 3,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(frozen_stages, init_cfg)
        self.arch = arch
        settings = architecture(arch, ARCHITECTURES, OPTIONAL)
        embed_dims, depth = settings['embed_dims'], settings['depth']
        head_dims = embed_dims // settings['num_heads']
        if head_dims % 4:
            raise ValueError(
                'model.backbone.arch: embed_dims / num_heads must be a multiple of 4, to be '
                f'rotated by row and column, got {embed_dims} / {settings["num_heads"]}.'
            )
        for name, value, least in (
            ('rope_base', rope_base, 1),
            ('rope_shift', rope_shift, 0),
            ('rope_jitter', rope_jitter, 1),
            ('rope_rescale', rope_rescale, 1),
        ):
            if value is not None and value < least:
                raise ValueError(
                    f'model.backbone.{name}: expected a number from {least} up, got {value}.'
                )
        self.out_indices = block_numbers(
            settings.get('out_indices', ()) if out_indices is None else out_indices, depth
        )
        self.out_channels = (embed_dims,) * len(self.out_indices)
        self.strides = (PATCH_SIZE,) * len(self.out_indices)
        self.num_registers = num_registers
        self.normed = _normed(final_norm, self.out_indices, depth)

        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dims))
        if num_registers:
            self.register_tokens = nn.Parameter(torch.empty(1, num_registers, embed_dims))
        # Only pre-training uses it; kept because every official file has it.
        self.mask_token = nn.Parameter(torch.zeros(1, embed_dims))
        self.patch_embed = PatchEmbedding(
            in_channels, embed_dims, PATCH_SIZE, settings['stem_channels']
        )
        self.rope = RotaryEmbedding(head_dims, rope_base, rope_shift, rope_jitter, rope_rescale)
        self.blocks = nn.ModuleList(
            RotaryBlock(settings, init_values, drop_path_rate * index / max(depth - 1, 1))
            for index in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self._init_tokens()
        self.freeze_stages()
        self._freeze_unused()

    def forward(self, image: Tensor) -> Features:
        outputs = []
        grid = patch_grid(image, PATCH_SIZE, 'DINOv3')
        with self.grad_mode(0):
            tokens = self.embed(image)
        cos, sin = self.rope(grid, 1 + self.num_registers, image.device)
        for index in range(self.out_indices[-1] + 1):
            with self.grad_mode(index + 1):
                tokens = self.blocks[index](tokens, cos, sin)
            if index in self.out_indices:
                output = self.norm(tokens) if index in self.normed else tokens
                outputs.append(split_tokens(output, self.num_registers, grid))
        cls_tokens, register_tokens, maps = zip(*outputs, strict=True)
        return Features(maps, cls_tokens, register_tokens if self.num_registers else None)

    def embed(self, image: Tensor) -> Tensor:
        """Tokens that enter the first block, ``(N, 1 + num_registers + H / 16 * W / 16, C)``.

        Their order is class, registers, patches.
        """
        patch_grid(image, PATCH_SIZE, 'DINOv3')
        first = [self.cls_token, self.register_tokens] if self.num_registers else [self.cls_token]
        patches = self.patch_embed(image)
        return torch.cat([*(x.expand(image.shape[0], -1, -1) for x in first), patches], dim=1)

    def init_weights(self) -> None:
        """Load ``init_cfg.checkpoint``, or initialise from scratch where there is none."""
        if self.init_cfg:
            unused = ('mask_token',) if self.normed else ('mask_token', 'norm.')
            load_dinov3_weights(self, str(self.init_cfg['checkpoint']), unused)
        else:
            self.warn_of_random_frozen_stages()
            self._init_tokens()
            init_linears(self)
        self.is_init = True

    def _init_tokens(self) -> None:
        nn.init.normal_(self.cls_token, std=0.02)
        if self.num_registers:
            nn.init.normal_(self.register_tokens, std=0.02)

    def _freeze_unused(self) -> None:
        # What no output depends on must not wait for a gradient: DistributedDataParallel would stop
        # at it.
        unused = [self.mask_token, self.blocks[self.out_indices[-1] + 1 :]]
        if not self.normed:
            unused.append(self.norm)
        for part in unused:
            part.requires_grad_(False)


def _normed(final_norm: bool | str, out_indices: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """The blocks whose outputs the final norm is applied to."""
    if final_norm not in (False, True, 'last'):
        raise ValueError(
            f"model.backbone.final_norm must be False, True or 'last', got {final_norm!r}."
        )
    if final_norm == 'last' and out_indices[-1] != depth - 1:
        raise ValueError(
            f"model.backbone.final_norm='last' is for the last block, {depth - 1}, which is not "
            f'among model.backbone.out_indices={out_indices}.'
        )
    return {False: (), True: out_indices, 'last': out_indices[-1:]}[final_norm]
