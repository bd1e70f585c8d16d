"""The DINOv2 vision transformer as a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

from .architectures import architecture, block_numbers, patch_grid
from .backbone_checkpoint import load_backbone_weights
from .dinov2_checkpoint import describe_vit, read_backbone_checkpoint, resolve_checkpoint
from .position_embedding import interpolate_position_embedding, sincos_position_embedding
from .staged_backbone import StagedBackbone
from .vision_transformer import (
    LAYER_NORM_EPS,
    Block,
    PatchEmbedding,
    init_linears,
    split_tokens,
)

PATCH_SIZE = 14
ARCHITECTURES = {
    'tiny': dict(
        embed_dims=192, depth=4, num_heads=3, stem_channels=(32, 32, 64), out_indices=(0, 1, 2, 3)
    ),
    'small': dict(embed_dims=384, depth=12, num_heads=6, out_indices=(2, 5, 8, 11)),
    'base': dict(embed_dims=768, depth=12, num_heads=12, out_indices=(2, 5, 8, 11)),
    'large': dict(embed_dims=1024, depth=24, num_heads=16, out_indices=(4, 11, 17, 23)),
    'giant': dict(
        embed_dims=1536, depth=40, num_heads=24, ffn='swiglu', out_indices=(9, 19, 29, 39)
    ),
}
# What an architecture may leave out.
OPTIONAL = dict(ffn='mlp', mlp_ratio=4, stem_channels=())


@MODELS.register_module()
class DINOv2(StagedBackbone):
    """DINOv2 vision transformer with patches of 14 px (arXiv 2304.07193; registers: arXiv
    2309.16588).

    Parameters have the official names, so the official ``.pth`` files load as they are. All
    official weights share ``img_size=518``; the network takes any image whose sides are multiples
    of 14.

    Args:
        arch (str | dict): ``'small'``, ``'base'``, ``'large'``, ``'giant'``; ``'tiny'`` (192
            channels, 4 blocks behind three convolutions; no official weights, for tests and quick
            runs from scratch); or a dict with ``embed_dims``, ``depth``, ``num_heads`` and
            optionally ``ffn`` (``'mlp'`` | ``'swiglu'``, default ``'mlp'``), ``mlp_ratio`` (default
            4) and ``stem_channels`` (see :class:`PatchEmbedding`, default none). Default
            ``'small'``.
        out_indices (Sequence[int], optional): blocks whose outputs are returned, ascending from 0.
            Default: those of M2H, small and base (2, 5, 8, 11), large (4, 11, 17, 23), giant (9,
            19, 29, 39), tiny (0, 1, 2, 3); required where ``arch`` is a dict.
        img_size (int): side of the square image that the stored position embedding belongs to, in
            pixels, a multiple of 14. Default 518.
        num_registers (int): register tokens; the official weights have 0 or 4. Default 0.
        interpolate_offset (float, optional): offset in the interpolation of the position embedding,
            in patches, see :func:`interpolate_position_embedding`. Default: as the official weights
            want it, 0.1 without and 0 with registers.
        interpolate_antialias (bool, optional): antialiased interpolation of the position embedding.
            Default: as the official weights want it, False without and True with registers.
        frozen_stages (int): 0 freezes the embedding, n the embedding and the first n blocks, see
            :class:`StagedBackbone`; the whole is frozen by ``model.freeze_backbone``.
            Default -1: nothing.
        init_values (float): initial value of LayerScale where no checkpoint is loaded. Default 1.0.
        drop_path_rate (float): stochastic depth of the last block, growing linearly from 0 at the
            first; trainable blocks in training only. Default 0.
        final_norm (bool): apply the final LayerNorm to every output. Default False.
        in_channels (int): channels of the image. Default 3.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)`` with a path, a URL,
            or ``'official'``, which stands for the official file that fits ``arch`` and
            ``num_registers`` (downloaded once to torch.hub's cache). None: initialised from
            scratch, the position embedding with sines and cosines. Read by ``init_weights``, so a
            model that is only tested from its own checkpoint needs no file here.

    Input: images ``(N, in_channels, H, W)``, normalised, H and W multiples of 14.

    Output: :class:`Features`: ``maps``, one ``(N, C, H / 14, W / 14)`` per out index,
    ``cls_tokens``, one ``(N, C)`` each, and with registers ``register_tokens``, one ``(N, R, C)``
    each.

    Raises:
        ValueError: an argument out of range; an image whose sides are no multiples of 14; a
            checkpoint of another architecture. FileNotFoundError, ConnectionError: the checkpoint
            cannot be had.
    """

    CHECKPOINTS = "'official' | path | URL"

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'small',
        out_indices: Sequence[int] | None = None,
        img_size: int = 518,
        num_registers: int = 0,
        interpolate_offset: float | None = None,
        interpolate_antialias: bool | None = None,
        frozen_stages: int = -1,
        init_values: float = 1.0,
        drop_path_rate: float = 0.0,
        final_norm: bool = False,
        in_channels: int = 3,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(frozen_stages, init_cfg)
        self.arch = arch
        settings = architecture(arch, ARCHITECTURES, OPTIONAL)
        embed_dims, depth = settings['embed_dims'], settings['depth']
        _check(img_size)
        self.out_indices = block_numbers(
            settings.get('out_indices', ()) if out_indices is None else out_indices, depth
        )
        self.out_channels = (embed_dims,) * len(self.out_indices)
        self.strides = (PATCH_SIZE,) * len(self.out_indices)
        self.num_registers = num_registers
        self.interpolate_offset = (
            (0.0 if num_registers else 0.1) if interpolate_offset is None else interpolate_offset
        )
        self.interpolate_antialias = (
            num_registers > 0 if interpolate_antialias is None else interpolate_antialias
        )
        self.final_norm = final_norm

        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dims))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + (img_size // PATCH_SIZE) ** 2, embed_dims))
        if num_registers:
            self.register_tokens = nn.Parameter(torch.empty(1, num_registers, embed_dims))
        # Only pre-training uses it; kept because every official file and checkpoint has it.
        self.mask_token = nn.Parameter(torch.zeros(1, embed_dims))
        self.patch_embed = PatchEmbedding(
            in_channels, embed_dims, PATCH_SIZE, settings['stem_channels']
        )
        self.blocks = nn.ModuleList(
            Block(
                embed_dims,
                settings['num_heads'],
                settings['ffn'],
                settings['mlp_ratio'],
                init_values,
                drop_path_rate * index / max(depth - 1, 1),
            )
            for index in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self._init_tokens()
        self.freeze_stages()
        self._freeze_unused()

    def forward(self, image: Tensor) -> Features:
        outputs = []
        grid = patch_grid(image, PATCH_SIZE, 'DINOv2')
        with self.grad_mode(0):
            tokens = self.embed(image)
        for index in range(self.out_indices[-1] + 1):
            with self.grad_mode(index + 1):
                tokens = self.blocks[index](tokens)
            if index in self.out_indices:
                output = self.norm(tokens) if self.final_norm else tokens
                outputs.append(split_tokens(output, self.num_registers, grid))
        cls_tokens, register_tokens, maps = zip(*outputs, strict=True)
        return Features(maps, cls_tokens, register_tokens if self.num_registers else None)

    def embed(self, image: Tensor) -> Tensor:
        """Tokens that enter the first block, ``(N, 1 + num_registers + H / 14 * W / 14, C)``.

        Their order is class, registers, patches; registers carry no position embedding.
        """
        grid = patch_grid(image, PATCH_SIZE, 'DINOv2')
        patches = self.patch_embed(image)
        positions = interpolate_position_embedding(
            self.pos_embed,
            grid,
            self.interpolate_offset,
            self.interpolate_antialias,
        )
        batch = image.shape[0]
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1), patches], dim=1) + positions
        if self.num_registers:
            registers = self.register_tokens.expand(batch, -1, -1)
            tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        return tokens

    def init_weights(self) -> None:
        """Load ``init_cfg.checkpoint``, or initialise from scratch where there is none."""
        if self.init_cfg:
            checkpoint = resolve_checkpoint(
                self.init_cfg['checkpoint'], self.arch, self.num_registers
            )
            unused = ('mask_token',) if self.final_norm else ('mask_token', 'norm.')
            state = read_backbone_checkpoint(checkpoint)
            load_backbone_weights(self, state, checkpoint, unused, describe_vit)
        else:
            self.warn_of_random_frozen_stages()
            self._init_tokens()
            init_linears(self)
        self.is_init = True

    def _init_tokens(self) -> None:
        nn.init.normal_(self.cls_token, std=1e-6)
        native = isqrt(self.pos_embed.shape[1] - 1)
        self.pos_embed.data.copy_(sincos_position_embedding(native, self.pos_embed.shape[2]))
        if self.num_registers:
            nn.init.normal_(self.register_tokens, std=1e-6)

    def _freeze_unused(self) -> None:
        # What no output depends on must not wait for a gradient: DistributedDataParallel would stop
        # at it.
        unused = [self.mask_token, self.blocks[self.out_indices[-1] + 1 :]]
        if not self.final_norm:
            unused.append(self.norm)
        for part in unused:
            part.requires_grad_(False)


def _check(img_size: int) -> None:
    if img_size <= 0 or img_size % PATCH_SIZE:
        raise ValueError(
            f'model.backbone.img_size must be a multiple of {PATCH_SIZE}, got {img_size}.'
        )
