"""The config of a checkpoint of the authors of TaskPrompter, read off its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from mmengine.config import Config
from torch import Tensor

from m2h_mm.engine.config import load_config
from m2h_mm.methods.taskprompter.checkpoint import official_tasks
from m2h_mm.models.backbones.vit import ARCHITECTURES, PATCH_SIZE

_LAYOUT = 'The checkpoint has the layout of the official TaskPrompter code, but '
_WAY_OUT = ' Give the config that it was trained with.'
_TASKS = {'semseg', 'depth', 'normals', 'edge'}
_NYUD_SIZE = (448, 576)


def official_taskprompter_config(state: Mapping[str, Tensor]) -> Config:
    """The config of an official TaskPrompter checkpoint of NYUD's four tasks, read off the names
    and shapes of its tensors.

    Recognised are the backbone, the size of its images (NYUD's 448x576, or a square), the widths,
    the number of classes, and whether there is cross-task reweighting. The windows of channels
    leave no trace and are those of the published models, four by four.

    Args:
        state: see :func:`~m2h_mm.methods.taskprompter.checkpoint.unwrap_state_dict`.

    Raises:
        ValueError: a backbone that is none of the plain transformers', images of another shape,
            other tasks; weights that every model has are missing or of other shapes.
    """
    try:
        tasks = official_tasks(state)
        if set(tasks) != _TASKS:
            raise ValueError(f'{_LAYOUT}of the tasks {list(tasks)}.{_WAY_OUT}')
        return load_config('taskprompter_vitl_nyud', _read_off(state))
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f'{_LAYOUT}what it is cannot be read off its weights ({error!r}).{_WAY_OUT}'
        ) from error


def _read_off(state: Mapping[str, Tensor]) -> dict[str, Any]:
    positions, width = state['backbone.pos_embed'].shape[1:]
    return {
        'tasks.semseg': dict(num_classes=state['heads.semseg.linear_pred.weight'].shape[0]),
        'model.backbone.arch': _arch(width, _count(state, r'backbone\.blocks\.(\d+)\.')),
        'model.backbone.img_size': _image_size(positions - 1),
        'model.backbone.decode_channels': state['backbone.fea_decode_spa.0.semseg.0.weight'].shape[
            0
        ],
        'model.backbone.channels': state['backbone.fea_fuse.0.semseg.0.weight'].shape[0],
        'model.backbone.reweighting': _count(state, r'backbone\.ctr_attn_conv\.(\d+)\.') > 0,
    }


def _arch(width: int, depth: int) -> str:
    for name, settings in ARCHITECTURES.items():
        if (settings['embed_dims'], settings['depth']) == (width, depth):
            return name
    raise ValueError(
        f'{_LAYOUT}its backbone of {depth} blocks and {width} channels is none of the plain vision '
        f'transformers {list(ARCHITECTURES)}.{_WAY_OUT}'
    )


def _image_size(patches: int) -> tuple[int, int]:
    """(height, width) in pixels of the images that have so many patches."""
    if patches == _NYUD_SIZE[0] * _NYUD_SIZE[1] // PATCH_SIZE**2:
        return _NYUD_SIZE
    side = isqrt(patches)
    if side**2 != patches:
        raise ValueError(
            f'{_LAYOUT}the height and width of images of {patches} patches are not known.{_WAY_OUT}'
        )
    return side * PATCH_SIZE, side * PATCH_SIZE


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for match in map(re.compile(pattern).match, state) if match})
