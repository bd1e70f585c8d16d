"""Reading DINOv3 weights: where the official files are, and the names of either publisher in terms
of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from m2h_mm.structures.weights import find_weights, require_dense

from .backbone_checkpoint import (
    CONFIG_KEY,
    hub_file,
    load_backbone_weights,
    read_backbone_file,
    shorten,
)
from .dinov2_checkpoint import count_blocks

if TYPE_CHECKING:
    from .dinov3 import DINOv3

LICENCE_PAGE = 'https://ai.meta.com/dinov3'
# arch -> the authors' file, and what the model is called at Hugging Face. Published under the
# DINOv3 licence, to which one must agree first.
OFFICIAL_FILES = {
    'small': ('dinov3_vits16_pretrain_lvd1689m-08c60483.pth', 'vits16'),
    'small_plus': ('dinov3_vits16plus_pretrain_lvd1689m-4057cbaa.pth', 'vits16plus'),
    'base': ('dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth', 'vitb16'),
    'large': ('dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth', 'vitl16'),
    'huge_plus': ('dinov3_vith16plus_pretrain_lvd1689m-7c1da9a5.pth', 'vith16plus'),
    '7b': ('dinov3_vit7b16_pretrain_lvd1689m-a955f4ea.pth', 'vit7b16'),
}
# What every DINOv3 has, with the number of dimensions: under our names, the authors' and those of
# Hugging Face.
ANCHORS = (
    {'cls_token': 3, 'patch_embed.proj.weight': 4, 'norm.weight': 1, 'blocks.0.ls1.gamma': 1},
    {
        'embeddings.cls_token': 3,
        'embeddings.patch_embeddings.weight': 4,
        'norm.weight': 1,
    },
)
ANCHOR_NAMES = {name for names in ANCHORS for name in names}
# Of the names of the authors and of Hugging Face, in this order; see ``our_keys``.
RENAMED = (
    (r'^storage_tokens$', 'register_tokens'),
    (r'^embeddings\.patch_embeddings\.', 'patch_embed.proj.'),
    (r'^embeddings\.', ''),
    (r'^(?:model\.)?layer\.(\d+)\.', r'blocks.\1.'),
    (r'\.attention\.o_proj\.', '.attn.proj.'),
    (r'\.attention\.', '.attn.'),
    (r'\.layer_scale([12])\.lambda1$', r'.ls\1.gamma'),
)
# Of feed-forward networks, plain and gated.
MLP_LAYERS = {'up_proj': 'fc1', 'down_proj': 'fc2'}
GATED_LAYERS = {'gate_proj': 'w1', 'up_proj': 'w2', 'down_proj': 'w3'}
# What is computed anew, and what only pre-training uses.
DROPPED = re.compile(r'rope_embed\.periods|local_cls_norm\..*|.*\.attn\.qkv\.bias_mask')
PERIODS_ERROR = 0.01  # bfloat16 has three digits


def load_dinov3_weights(backbone: DINOv3, checkpoint: str, unused: tuple[str, ...]) -> None:
    """Load a file into a backbone.

    Takes the authors' files, those of Hugging Face, and any checkpoint in which the backbone stands
    below other keys or behind prefixes (those of this package included).

    Args:
        backbone: the network.
        checkpoint: ``'official'``, a path or a URL.
        unused: prefixes of parameters that no output depends on, which a file may lack.

    Raises:
        FileNotFoundError: there is no file at the path, or no official file in torch.hub's cache.
        ConnectionError: the URL could not be downloaded.
        ValueError: the file cannot be read, is not a DINOv3, or is one of another architecture.
    """
    path = resolve_checkpoint(checkpoint, backbone.arch)
    source = f'{CONFIG_KEY}: {path}'
    state = _find(read_backbone_file(path, _where_to_get(backbone.arch)), path, source)
    if 'rope_embed.periods' in state:
        _require_periods(state['rope_embed.periods'], backbone.rope.periods(), source)
    load_backbone_weights(backbone, our_keys(state, source), path, unused, describe)


def resolve_checkpoint(checkpoint: str, arch: str | Mapping[str, Any]) -> str:
    """Path or URL for a configured checkpoint; ``'official'`` becomes the place of the file for
    ``arch`` in torch.hub's cache.

    Raises:
        ValueError: ``'official'`` where the authors published no weights.
    """
    if checkpoint != 'official':
        return str(checkpoint)
    if not isinstance(arch, str) or arch not in OFFICIAL_FILES:
        name = arch if isinstance(arch, str) else 'custom'
        raise ValueError(
            f"{CONFIG_KEY}='official': there are no official weights for arch={name!r}. They exist "
            f'for arch {", ".join(OFFICIAL_FILES)}. Change model.backbone.arch, name a file of '
            'your own, or set model.backbone.init_cfg=None to train from scratch.'
        )
    return str(hub_file(OFFICIAL_FILES[arch][0]))


def our_keys(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Parameters of a DINOv3 under our names; those that have them already are kept.

    ==============================  ==============================  ============================
    Hugging Face                    the authors                     here
    ==============================  ==============================  ============================
    ``embeddings.X_token``          ``X_token``                     ``X_token``
    ``embeddings.register_tokens``  ``storage_tokens``              ``register_tokens``
    ``embeddings.patch_embeddings`` ``patch_embed.proj``            ``patch_embed.proj``
    ``layer.N``, ``model.layer.N``  ``blocks.N``                    ``blocks.N``
    ``attention.X_proj``            ``attn.qkv``, one layer         ``attn.X_proj``, X: q, k, v
    ``attention.o_proj``            ``attn.proj``                   ``attn.proj``
    ``layer_scaleK.lambda1``        ``lsK.gamma``                   ``lsK.gamma``
    ``mlp.up_proj, down_proj``      ``mlp.fc1, fc2``                ``mlp.fc1, fc2``
    ``mlp.gate_proj, up_proj``      ``mlp.w1, w2``                  ``mlp.w12``, one layer
    ``mlp.down_proj`` if gated      ``mlp.w3``                      ``mlp.w3``
    ==============================  ==============================  ============================

    Args:
        state: name to tensor, without prefixes.
        source: the file, for messages.

    Raises:
        ValueError: keys have a bias, which no DINOv3 has.
    """
    layers = GATED_LAYERS if any('.mlp.gate_proj.' in name for name in state) else MLP_LAYERS
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if DROPPED.fullmatch(name):
            continue
        for pattern, ours in RENAMED:
            name = re.sub(pattern, ours, name)
        name = re.sub(r'(?<=\.mlp\.)\w+_proj', lambda found: layers.get(found[0], found[0]), name)
        renamed[name] = value
    if 'mask_token' in renamed:
        renamed['mask_token'] = renamed['mask_token'].reshape(1, -1)
    for name in [name for name in renamed if '.attn.qkv.' in name]:
        query, key, value = _parts(renamed.pop(name), 3, name, source)
        renamed[name.replace('.qkv.', '.q_proj.')] = query
        renamed[name.replace('.qkv.', '.v_proj.')] = value
        if name.endswith('.weight'):
            renamed[name.replace('.qkv.', '.k_proj.')] = key
        else:
            _require_no_key_bias(key, state.get(f'{name}_mask'), name, source)
    for name in [name for name in renamed if name.endswith('.attn.k_proj.bias')]:
        _require_no_key_bias(renamed.pop(name), None, name, source)
    for name in [name for name in renamed if '.mlp.w1.' in name]:
        other = name.replace('.w1.', '.w2.')
        if other in renamed and renamed[other].shape == renamed[name].shape:
            both = torch.cat([renamed.pop(name), renamed.pop(other)])
            renamed[name.replace('.w1.', '.w12.')] = both
    return renamed


def describe(state: Mapping[str, Tensor]) -> dict[str, int | str]:
    """What sets DINOv3 models apart, by our names."""
    patch_weight = state['patch_embed.proj.weight']
    return {
        'embed_dims': state['cls_token'].shape[-1],
        'depth': count_blocks(state),
        'ffn': 'swiglu' if 'blocks.0.mlp.w12.weight' in state else 'mlp',
        'bias of queries': 'yes' if 'blocks.0.attn.q_proj.bias' in state else 'no',
        'registers': state['register_tokens'].shape[1] if 'register_tokens' in state else 0,
        'image channels': patch_weight.shape[1],
        'patch size (px)': patch_weight.shape[-1],
    }


def _find(content: Any, path: str, source: str) -> dict[str, Tensor]:
    """The parameters of a DINOv3 in what a file holds, without prefixes."""
    weights = find_weights(content, ANCHOR_NAMES.__contains__, source, least=3)
    state = weights.state
    found = {name: state[name].ndim for name in ANCHOR_NAMES if name in state}
    if not any(names.items() <= found.items() for names in ANCHORS) or 'pos_embed' in state:
        hint = ' It has a position embedding, as DINOv2 has.' if 'pos_embed' in state else ''
        raise ValueError(
            f'{source} is not a DINOv3: expected the keys cls_token, storage_tokens, '
            'patch_embed.*, blocks.* of the authors, or embeddings.*, layer.* of Hugging Face, '
            'also below others such as "model" or behind prefixes such as "backbone.", found '
            f'{shorten(list(state))}.{hint}'
        )
    require_dense(state, source)
    weights.report(path)
    return state


def _parts(value: Tensor, count: int, name: str, source: str) -> tuple[Tensor, ...]:
    """The rows of ``value`` in so many equal parts."""
    if value.ndim == 0 or value.shape[0] % count or not len(value):
        raise ValueError(
            f'{source}: {name} has the shape {tuple(value.shape)}. Expected {count} times as many '
            'rows as channels.'
        )
    return value.chunk(count)


def _require_periods(theirs: Tensor, ours: Tensor, source: str) -> None:
    """Refuse a file that was trained with another rotation."""
    same = theirs.shape == ours.shape and torch.allclose(theirs.to(ours), ours, rtol=PERIODS_ERROR)
    if not same:
        raise ValueError(
            f'{source} was trained with other periods of rotation: file {_shown(theirs)}, config '
            f'{_shown(ours)}. Change model.backbone.rope_base, or num_heads in model.backbone.arch.'
        )


def _shown(periods: Tensor) -> str:
    values = ', '.join(f'{value:.4g}' for value in periods.flatten()[:3].tolist())
    return f'{periods.numel()} ({values}, ...)'


def _require_no_key_bias(bias: Tensor, mask: Tensor | None, name: str, source: str) -> None:
    """The authors' files hold a bias of the keys, and a mask that takes it away."""
    if mask is None:
        there = bias.any()
    else:
        there = _parts(mask, 3, f'{name}_mask', source)[1].any()
    if there:
        raise ValueError(
            f'{source}: {name} has a bias for the keys. Expected none, or one that a mask takes '
            'away: no DINOv3 has such a bias.'
        )


def _where_to_get(arch: str | Mapping[str, Any]) -> str:
    if not isinstance(arch, str) or arch not in OFFICIAL_FILES:
        return ''
    file, name = OFFICIAL_FILES[arch]
    return (
        f'DINOv3 is not downloaded by itself: agree to its licence at {LICENCE_PAGE}, and put the '
        f"authors' {file} into {hub_file(file).parent}, which is where 'official' looks; or take "
        f'model.safetensors of https://huggingface.co/facebook/dinov3-{name}-pretrain-lvd1689m. '
    )
