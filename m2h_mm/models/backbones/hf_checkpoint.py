"""Weights for a network of transformers: from a folder, the hub or a file."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import print_log

from m2h_mm.structures.checkpoint_file import read_checkpoint
from m2h_mm.structures.weights import find_weights

from .backbone_checkpoint import shorten
from .hf_architecture import (
    Architecture,
    find_architecture,
    is_folder,
    known_fields,
    make_config,
    read_normalisation,
    without_pooler,
)
from .wrapped_backbone import Normalisation

if TYPE_CHECKING:
    from .hf import HFBackbone

CONFIG_KEY = 'model.backbone.init_cfg.checkpoint'
# Parts of the names of fields that change nothing of what trained weights compute, or whose wrong
# values show in the shapes.
FREE = (
    'apply_layernorm',
    'auxiliary',
    'drop',
    'encoder_stride',
    'image_size',
    'init',
    'layerscale_value',
    'layer_scale_init_value',
    'num_hidden_layers',
    'out_features',
    'out_indices',
    'pool_scales',
    'pooler',
    'pos_embed_jitter',
    'pos_embed_rescale',
    'pos_embed_shift',
    'projection_dim',
    'reshape_hidden_states',
    'semantic_loss',
    'stage_names',
    'use_mask_token',
    'use_mean_pooling',
    'vision_use_head',
    'vocab_size',
)
# Made by AutoBackbone behind every stage; weights from another task have none. They start as
# mmseg's do, with 1 and 0.
NEW = 'hidden_states_norms.'


def load_weights(backbone: HFBackbone, checkpoint: str) -> Normalisation | None:
    """Load a folder, a model on the hub, or a file.

    Returns:
        What the weights' images were normalised with, where that is known.

    Raises:
        FileNotFoundError, ConnectionError: it cannot be had.
        ValueError: it cannot be read, or is of another network.
    """
    file = Path(checkpoint).expanduser()
    if file.is_file():
        _load(backbone, checkpoint, None, state_dict=_read(backbone, file))
        return read_normalisation(str(file.parent), fetch=False)
    local = is_folder(checkpoint)
    _compare(backbone, find_architecture(checkpoint, {}, fetch=not local), checkpoint)
    _load(backbone, checkpoint, str(file) if local else checkpoint, local_files_only=local)
    return read_normalisation(checkpoint, fetch=not local)


def _load(backbone: HFBackbone, checkpoint: str, source: str | None, **options: Any) -> None:
    """Let transformers read, and translate names of other versions of it.

    Args:
        backbone: gets the weights.
        checkpoint: as in the config, for messages.
        source, options: of ``from_pretrained``.
    """
    try:
        cls = type(backbone.model)
        loaded, info = cls.from_pretrained(
            source,
            config=copy.deepcopy(backbone.model.config),
            output_loading_info=True,
            dtype=torch.float32,
            **without_pooler(cls),
            **options,
        )
    except OSError as error:
        raise (FileNotFoundError if options.get('local_files_only') else ConnectionError)(
            f'{CONFIG_KEY}={checkpoint!r} holds no weights that can be had: '
            f'{str(error).splitlines()[0]}'
        ) from error
    except (RuntimeError, ValueError) as error:  # other shapes
        raise ValueError(
            f'{CONFIG_KEY}={checkpoint!r} does not fit model.backbone ({backbone.kind}): {error}'
        ) from error
    _require(backbone, info['missing_keys'], checkpoint)
    backbone.model.load_state_dict(loaded.state_dict())
    print_log(f'HFBackbone: loaded the weights of {checkpoint}', 'current')


def _read(backbone: HFBackbone, file: Path) -> dict[str, torch.Tensor]:
    """Of a file of transformers, or of a checkpoint of this project, the backbone's weights."""
    wanted = backbone.model.state_dict()
    weights = find_weights(
        read_checkpoint(file), wanted.__contains__, f'{CONFIG_KEY}: {file}', least=len(wanted) // 2
    )
    weights.report(file)
    return weights.state


def _require(backbone: HFBackbone, missing: Iterable[str], checkpoint: str) -> None:
    """Refuse weights that lack what an output depends on."""
    needed = sorted(name for name in missing if name not in backbone.unused and NEW not in name)
    if needed:
        raise ValueError(
            f'{CONFIG_KEY}: {checkpoint} lacks {len(needed)} weights of model.backbone '
            f'({backbone.kind}): {shorten(needed)}. Name weights of this network.'
        )


def _compare(backbone: HFBackbone, found: Architecture, checkpoint: str) -> None:
    """Refuse weights of a network whose shapes may be the same, but that computes otherwise."""
    ours, theirs = backbone.model.config.to_dict(), make_config(found).to_dict()
    if found.kind != backbone.kind:
        raise ValueError(
            f'{CONFIG_KEY}={checkpoint!r} is of the type {found.kind!r}, model.backbone.name of '
            f'{backbone.kind!r}. Set model.backbone.name={found.kind!r} or name other weights.'
        )
    different = [
        f'{key}: {_plain(ours[key])} in the config, {_plain(theirs[key])} in the weights'
        for key in sorted(known_fields(found.kind))
        if not any(part in key for part in FREE) and _plain(ours[key]) != _plain(theirs[key])
    ]
    if different:
        raise ValueError(
            f'{CONFIG_KEY}={checkpoint!r} is of another network than model.backbone: '
            f'{shorten(different)}. Set them in model.backbone.options, or set '
            f'model.backbone.name={checkpoint!r}.'
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
