"""TaskPrompter's backbone: a plain vision transformer with a prompt for every task."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from m2h_mm.methods.taskprompter.block import PromptedBlock
from m2h_mm.methods.taskprompter.prompt_decoding import PromptDecoding
from m2h_mm.models.backbones.architectures import patch_grid
from m2h_mm.models.backbones.backbone_checkpoint import load_backbone_weights
from m2h_mm.models.backbones.dinov2_checkpoint import describe_vit, read_backbone_checkpoint
from m2h_mm.models.backbones.staged_backbone import StagedBackbone
from m2h_mm.models.backbones.vision_transformer import (
    LAYER_NORM_EPS,
    PatchEmbedding,
    init_linears,
)
from m2h_mm.models.backbones.vit import (
    PATCH_SIZE,
    fit_positions,
    native_grid,
    output_blocks,
    plain_architecture,
    resample_positions,
)
from m2h_mm.models.layers.resize import resize
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

# What a plain transformer's checkpoint does not have.
_OWN = re.compile(
    r'task_prompts|levels\.|predictions\.|blocks\.\d+\.attn\.(to|from)_positions\.|patch_embed\.stem\.'
)


@MODELS.register_module()
class TaskPrompterViT(StagedBackbone):
    """TaskPrompter (ICLR 2023): a plain vision transformer in which learned prompts, one for each
    task, attend beside the patches, and from which the maps of the tasks are read.

    The maps are taken at several levels, the outputs of some blocks. What a prompt looks at there,
    in positions and in channels, weights the patches (:class:`PromptDecoding`); the maps of all
    levels are summed and upsampled by 4. ``TaskMapsDecoder`` hands them to the heads, which are
    ``TaskPrompterHead``.

    The defaults are the published model for NYUD, whose checkpoints are read by
    ``m2h-mm convert-checkpoint taskprompter`` or as they are; its cross-task reweighting, part of
    the paper, is switched off there. A layer of the official code that no prediction depends on
    is not built.

    With ``tasks``, the maps of a subset are asked for: the prompts of the others still attend, but
    their maps are not computed; with ``reweighting`` they are, as they enter those of the subset.

    ``model.freeze_backbone`` is not for it: it would keep the prompts and the tasks' layers as they
    are. With ``model.adapters`` these are trained by ``also_train=('task_prompts', 'levels',
    '*_positions')``.

    Args:
        tasks: names of the tasks. Filled in by the model.
        task_channels: channels of each task's output. Filled in by the model.
        arch (str | dict): as of :class:`ViT`. Default ``'large'``.
        out_indices (Sequence[int], optional): the levels: numbers of blocks, ascending from 0, the
            last one the last block. Default: four, a quarter of the depth apart, for large
            (5, 11, 17, 23).
        img_size (int | tuple): (height, width), or the side of a square, of the images, in pixels:
            multiples of ``patch_size``. A prompt is turned into as many values as such an image has
            patches. Default (448, 576).
        windows (int): windows per direction, within which channels are weighted. Default 4.
        decode_channels (int): channels of the weighted patches. Default 768.
        channels (int): C of the tasks' maps. Default 768.
        reweighting (bool): cross-task reweighting. Default: False.
        predict_levels (bool): supervise a prediction of every task at every level, made by a 1x1
            convolution of its map. Not part of TaskPrompter. Default: False.
        patch_size (int): side of a patch in pixels, even with a stem. Default 16.
        stem_channels (Sequence[int]): see :class:`PatchEmbedding`, for a training from scratch.
            Default: none.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)`` as of :class:`ViT`:
            the weights of a plain transformer. What only TaskPrompter has starts from scratch.

    Input: images ``(N, 3, H, W)``, normalised, H and W multiples of ``windows * patch_size``. At
    other sizes than ``img_size`` the position embedding is resampled (bicubic), and so are the maps
    that the prompts are turned into (bilinear).

    Output: :class:`Features`: ``maps``, the patches ``(N, D, H / 16, W / 16)`` of every level, the
    last one normalised; ``task_maps`` ``{task: (N, C, H / 4, W / 4)}``; in training, with
    ``predict_levels``, ``aux``: ``{task: (N, K, H / 16, W / 16)}`` of every level.

    Raises:
        ValueError: an argument out of range; no tasks; an image whose sides do not fit; a
            checkpoint of another architecture. FileNotFoundError, ConnectionError: the checkpoint
            cannot be had.
    """

    BEGINNING = ('task_prompts', 'pos_embed', 'patch_embed')
    takes_tasks = True

    def __init__(
        self,
        tasks: Sequence[str],
        task_channels: Mapping[str, int],
        arch: str | Mapping[str, Any] = 'large',
        out_indices: Sequence[int] | None = None,
        img_size: int | Sequence[int] = (448, 576),
        windows: int = 4,
        decode_channels: int = 768,
        channels: int = 768,
        reweighting: bool = False,
        predict_levels: bool = False,
        patch_size: int = PATCH_SIZE,
        stem_channels: Sequence[int] = (),
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        embed_dims, depth, num_heads = plain_architecture(arch)
        self.tasks = tuple(tasks)
        self.out_indices = output_blocks(out_indices, depth)
        self.grid = native_grid(img_size, patch_size)
        _check(self.tasks, self.grid, windows, img_size, decode_channels, channels)
        self.out_channels = (embed_dims,) * len(self.out_indices)
        self.strides = (patch_size,) * len(self.out_indices)
        self.task_map_channels = dict.fromkeys(self.tasks, channels)
        self.patch_size, self.size_divisor = patch_size, windows * patch_size
        self.task_prompts = nn.Parameter(torch.empty(len(self.tasks), embed_dims))
        # The first entry is a class token's, which there is not; pretrained weights have it.
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], embed_dims))
        self.patch_embed = PatchEmbedding(3, embed_dims, patch_size, stem_channels)
        self.blocks = nn.ModuleList(
            PromptedBlock(
                embed_dims,
                num_heads,
                len(self.tasks),
                self.grid,
                (windows, windows),
                yields_logits=index in self.out_indices,
                last=index == depth - 1,
            )
            for index in range(depth)
        )
        self.norm = nn.LayerNorm(embed_dims, eps=LAYER_NORM_EPS)
        self.levels = nn.ModuleList(
            PromptDecoding(
                self.tasks, embed_dims, num_heads, decode_channels, channels, reweighting
            )
            for _ in self.out_indices
        )
        self.predictions = None
        if predict_levels:
            self.predictions = nn.ModuleList(
                nn.ModuleDict(
                    {task: nn.Conv2d(channels, task_channels[task], 1) for task in self.tasks}
                )
                for _ in self.out_indices
            )
        self._init_tokens()

    def forward(self, image: Tensor, tasks: Sequence[str] | None = None) -> Features:
        """
        Args:
            image: ``(N, 3, H, W)``.
            tasks: those whose maps are wanted. Default: all.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        patch_grid(image, self.size_divisor, type(self).__name__)
        grid = image.shape[2] // self.patch_size, image.shape[3] // self.patch_size
        tokens = self.embed(image, grid)
        maps, summed, aux = [], {}, []
        for index, block in enumerate(self.blocks):
            tokens, logits = block(tokens, grid)
            if logits is None:
                continue
            patches = tokens[:, len(self.tasks) :]
            if index == self.out_indices[-1]:
                patches = self.norm(patches)
            maps.append(patches.transpose(1, 2).unflatten(2, grid))
            found = self.levels[len(maps) - 1](maps[-1], logits, wanted)
            summed = {task: summed[task] + x if summed else x for task, x in found.items()}
            if self.training and self.predictions is not None:
                convs = self.predictions[len(maps) - 1]
                aux.append({task: convs[task](x) for task, x in found.items()})
        size = 4 * grid[0], 4 * grid[1]
        task_maps = {task: resize(x, size) for task, x in summed.items()}
        return Features(maps=tuple(maps), task_maps=task_maps, aux=aux)

    def embed(self, image: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens that enter the first block, prompts first, ``(N, T + h * w, D)``."""
        positions = resample_positions(self.pos_embed, self.grid, grid)
        patches = self.patch_embed(image) + positions[:, 1:]
        return torch.cat([self.task_prompts.expand(image.shape[0], -1, -1), patches], dim=1)

    def init_weights(self) -> None:
        """Initialise from scratch, then load ``init_cfg.checkpoint`` if there is one."""
        self._init_tokens()
        init_linears(self)
        if self.init_cfg:
            checkpoint = str(self.init_cfg['checkpoint'])
            state = read_backbone_checkpoint(checkpoint, official='')
            state['pos_embed'] = fit_positions(state['pos_embed'], self.grid, checkpoint)
            load_backbone_weights(self, state, checkpoint, (), describe_vit, own=_OWN.match)
        self.is_init = True

    def _init_tokens(self) -> None:
        nn.init.trunc_normal_(self.task_prompts, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)


def _check(
    tasks: Sequence[str],
    grid: tuple[int, int],
    windows: int,
    img_size: int | Sequence[int],
    decode_channels: int,
    channels: int,
) -> None:
    if not tasks:
        raise ValueError(
            'model.backbone (TaskPrompterViT): model.tasks is empty. Name at least one task.'
        )
    if windows < 1 or any(side % windows for side in grid):
        raise ValueError(
            f'model.backbone.windows={windows}: expected a number that divides both sides of the '
            f'{grid[0]}x{grid[1]} patches of model.backbone.img_size={img_size}. Change one of '
            'the two.'
        )
    if min(decode_channels, channels) < 1:
        raise ValueError(
            f'model.backbone: expected decode_channels and channels of at least 1, got '
            f'{decode_channels} and {channels}.'
        )
