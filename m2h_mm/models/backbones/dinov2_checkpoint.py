"""Reading DINOv2 weights: where the official files are, and what a file must hold to fit a
backbone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from torch import Tensor

from m2h_mm.structures.weights import find_weights, require_dense

from .backbone_checkpoint import CONFIG_KEY, read_backbone_file, shorten

OFFICIAL = "'official' downloads the weights that fit model.backbone.arch. "
ANCHORS = {'cls_token': 3, 'pos_embed': 3, 'patch_embed.proj.weight': 4}
"""What every vision transformer has, and the number of its dimensions."""
# (arch, num_registers) -> file. Published by the authors of DINOv2 under Apache-2.0.
PRETRAINED_URLS = {
    (
        arch,
        registers,
    ): f'https://dl.fbaipublicfiles.com/dinov2/dinov2_{name}/dinov2_{name}{suffix}_pretrain.pth'
    for arch, name in {
        'small': 'vits14',
        'base': 'vitb14',
        'large': 'vitl14',
        'giant': 'vitg14',
    }.items()
    for registers, suffix in {0: '', 4: '_reg4'}.items()
}


def resolve_checkpoint(checkpoint: str, arch: str | Mapping[str, Any], num_registers: int) -> str:
    """Path or URL for a configured checkpoint; ``'official'`` becomes the URL for ``arch`` and
    ``num_registers``.

    Raises:
        ValueError: ``'official'`` where the authors published no weights.
    """
    if checkpoint != 'official':
        return str(checkpoint)
    name = arch if isinstance(arch, str) else 'custom'
    if (name, num_registers) not in PRETRAINED_URLS:
        raise ValueError(
            f"{CONFIG_KEY}='official': there are no official weights for arch={name!r} with "
            f'num_registers={num_registers}. They exist for arch small, base, large and giant '
            'with 0 or 4 registers. Change model.backbone.arch, name a file of your own, or set '
            'model.backbone.init_cfg=None to train from scratch.'
        )
    return PRETRAINED_URLS[name, num_registers]


def read_backbone_checkpoint(checkpoint: str, official: str = OFFICIAL) -> dict[str, Tensor]:
    """State dict of a DINOv2 file at a path or URL, with the official keys of an unchunked model.

    Takes the official files, training checkpoints of DINOv2, of which the teacher is taken, and any
    checkpoint in which the backbone stands below other keys or behind prefixes (those of this
    package included). Files are unpickled with ``weights_only=True``.

    Args:
        checkpoint: a path or a URL.
        official: as of :func:`read_backbone_file`.

    Raises:
        FileNotFoundError: there is no file at the path.
        ConnectionError: the URL could not be downloaded.
        ValueError: the file cannot be read, or is not a vision transformer.
    """
    return _official_keys(read_backbone_file(checkpoint, official), checkpoint)


def _official_keys(content: Any, checkpoint: str) -> dict[str, Tensor]:
    source = f'{CONFIG_KEY}: {checkpoint}'
    weights = find_weights(content, ANCHORS.__contains__, source, least=len(ANCHORS))
    state = weights.state
    dims = {name: state[name].ndim for name in ANCHORS if name in state}
    if dims != ANCHORS:
        hint = (
            " It has the layout of Hugging Face's transformers: take the authors' file, 'official'."
            if any('embeddings.cls_token' in name for name in state)
            else " It is DINOv3's: set model.backbone.type='DINOv3'."
            if 'storage_tokens' in state
            else ''
        )
        raise ValueError(
            f'{source} is not a vision transformer: expected the keys cls_token, pos_embed, '
            'patch_embed.*, blocks.*, also below others such as "model" or behind prefixes such as '
            f'"backbone.", found {shorten(list(state))}.{hint}'
        )
    registers = state.get('register_tokens')
    if state['pos_embed'].shape[1] < 2 or (registers is not None and registers.ndim != 3):
        raise ValueError(f'{source} has tokens of shapes that no vision transformer has.')
    require_dense(state, source)
    weights.report(checkpoint)
    # Models built with block_chunks name block 3 "blocks.<chunk>.3.".
    return {
        re.sub(r'^blocks\.\d+\.(\d+)\.', r'blocks.\1.', key): tensor
        for key, tensor in state.items()
    }


def describe_vit(state: Mapping[str, Tensor]) -> dict[str, int | str]:
    """What sets DINOv2 and plain vision transformers apart."""
    patch_weight = state['patch_embed.proj.weight']
    return {
        'embed_dims': state['pos_embed'].shape[-1],
        'depth': count_blocks(state),
        'ffn': 'swiglu' if 'blocks.0.mlp.w12.weight' in state else 'mlp',
        'registers': state['register_tokens'].shape[1] if 'register_tokens' in state else 0,
        'image channels': patch_weight.shape[1],
        'patch size (px)': patch_weight.shape[-1],
        'native size (px)': isqrt(state['pos_embed'].shape[1] - 1) * patch_weight.shape[-1],
    }


def count_blocks(state: Mapping[str, Tensor]) -> int:
    """Blocks of a transformer whose parameters' names begin with ``blocks.<number>.``."""
    found = filter(None, map(re.compile(r'blocks\.(\d{1,9})\.').match, state))
    return max((int(match[1]) for match in found), default=-1) + 1
