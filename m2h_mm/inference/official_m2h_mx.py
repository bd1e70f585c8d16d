"""The config of a checkpoint of the authors of M2H-MX, read off its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import Tensor

from m2h_mm.engine.config import load_config
from m2h_mm.methods.m2h_mx.checkpoint import OFFICIAL_TASKS, tasks_of
from m2h_mm.models.backbones.dinov3 import ARCHITECTURES

_BACKBONE = 'hfa_adapter.backbone.'


def official_m2h_mx_config(state: Mapping[str, Tensor]) -> Config:
    """The config of an official M2H-MX checkpoint of four tasks, or of segmentation and depth, read
    off the names and shapes of its tensors.

    Recognised are the backbone, the widths, the numbers of classes and bins, and whether edges
    refine the segmentation. What leaves no trace is as published: the range of depth, 0.1 to 10 m
    (the ITC corridors have 20), the threshold of edges, and low-rank adapters of twice their rank
    as alpha, which are merged into the backbone.

    Args:
        state: see :func:`~m2h_mm.methods.m2h_mx.checkpoint.unwrap_state_dict`.

    Raises:
        ValueError: a backbone that is none of DINOv3's, other tasks; weights that every model has
            are missing or of other shapes.
    """
    try:
        tasks = tuple(tasks_of(state))
        if tasks not in (OFFICIAL_TASKS, OFFICIAL_TASKS[:2]):
            raise ValueError(
                'The checkpoint has the layout of the official M2H-MX code, but of the tasks '
                f'{list(tasks)}. Give the config that it was trained with.'
            )
        name = 'm2h_mx_vitl_nyud_official' if len(tasks) == 4 else 'm2h_mx_vitl_scannet_official'
        return load_config(name, _read_off(state))
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            'The checkpoint has the layout of the official M2H-MX code, but what it is cannot be '
            f'read off its weights ({error!r}). Give the config that it was trained with.'
        ) from error


def _read_off(state: Mapping[str, Tensor]) -> dict[str, Any]:
    classes = state['segmentation_head.pred_conv.conv2.weight'].shape[0]
    options = {
        'tasks.semseg': dict(num_classes=classes),
        'model.neck.out_channels': state['hfa_adapter.register_proj.weight'].shape[0],
        'model.decoder.state_size': state['decoder.register_blocks.0.mamba.A_log'].shape[1],
        'model.decoder.heads.depth.num_bins': state['depth_head.bin_classifier.3.weight'].shape[0],
        'model.backbone.num_registers': state[_BACKBONE + 'embeddings.register_tokens'].shape[1],
        **_backbone(state),
    }
    if 'segmentation_head.boundary_refine.conv.weight' not in state:
        options['model.decoder.heads.semseg.edge_threshold'] = None
    return options


def _backbone(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Of the four layers, the deepest alone counts, which is the last block of every published
    model.
    """
    width = state[_BACKBONE + 'embeddings.cls_token'].shape[-1]
    blocks = {
        key.split('.layer.')[1].split('.')[0]
        for key in state
        if key.startswith(_BACKBONE) and '.layer.' in key
    }
    depth = len(blocks)
    gated = any('.mlp.gate_proj.' in key for key in state)
    for name, settings in ARCHITECTURES.items():
        found = settings['embed_dims'], settings['depth'], settings.get('ffn', 'mlp') == 'swiglu'
        if name != 'tiny' and found == (width, depth, gated):
            layers = tuple(depth * number // 4 - 1 for number in range(1, 5))
            return {'model.backbone.arch': name, 'model.backbone.out_indices': layers}
    raise ValueError(
        'The checkpoint has the layout of the official M2H-MX code, but its backbone of '
        f'{depth} blocks and {width} channels is none of DINOv3. Give the config that it was '
        'trained with.'
    )
