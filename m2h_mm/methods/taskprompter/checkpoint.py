"""Names of the official TaskPrompter checkpoints' parameters (prismformore/Multi-Task-Transformer),
translated into ours.

Shapes are the same on both sides: nothing is split, joined or transposed. SyncBatchNorm has the
keys of BatchNorm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from m2h_mm.methods.invpt.checkpoint import OFFICIAL_TASKS
from m2h_mm.methods.official_checkpoint import (
    Conversion,
    require_exact,
    unwrap_official,
    without_archive,
)

_HEAD = 'backbone.fea_fuse.'
_PROMPTS = 'backbone.task_prompts'
_FROM_POSITIONS = re.compile(r'backbone\.blocks\.(\d+)\.attn\.token_trans1\.')

# What stands before a parameter's own name (weight, bias, running_mean, ...), there and here.
_PARTS = tuple(
    (re.compile(theirs), ours)
    for theirs, ours in (
        (
            r'backbone\.blocks\.(?P<i>\d+)\.attn\.token_trans\.',
            'backbone.blocks.{i}.attn.to_positions.',
        ),
        (
            r'backbone\.blocks\.(?P<i>\d+)\.attn\.token_trans1\.',
            'backbone.blocks.{i}.attn.from_positions.',
        ),
        (
            r'backbone\.fea_decode_spa\.(?P<i>\d+)\.(?P<task>\w+)\.0\.',
            'backbone.levels.{i}.spatial.{task}.',
        ),
        (
            r'backbone\.fea_decode_chan\.(?P<i>\d+)\.(?P<task>\w+)\.0\.',
            'backbone.levels.{i}.channel.{task}.',
        ),
        (
            r'backbone\.fea_fuse\.(?P<i>\d+)\.(?P<task>\w+)\.',
            'backbone.levels.{i}.fuse.{task}.',
        ),
        (
            r'backbone\.ctr_attn_conv\.(?P<i>\d+)\.(?P<task>\w+)\.',
            'backbone.levels.{i}.reweight.{task}.',
        ),
        (r'heads\.(?P<task>\w+)\.mt_proj\.', 'heads.{task}.project.'),
        (r'heads\.(?P<task>\w+)\.linear_pred\.', 'heads.{task}.conv.'),
        (
            r'backbone\.(?=pos_embed$|patch_embed\.proj\.|norm\.|blocks\.\d+\.(norm[12]|mlp\.fc[12]|attn\.qkv|'
            r'attn\.proj)\.)',
            'backbone.',
        ),
    )
)


def dead_keys(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Official parameters without effect on any prediction, which are not built here: what turns
    the prompts' maps back, in the last block.
    """
    found = {key: int(match[1]) for key in state_dict if (match := _FROM_POSITIONS.match(key))}
    return [key for key, block in found.items() if block == max(found.values())]


def official_tasks(state_dict: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Our names of an official state dict's tasks, in the order of their prompts.

    Raises:
        ValueError: a task of another name than those of InvPT's code.
    """
    pattern = re.compile(r'heads\.(\w+)\.linear_pred\.weight')
    names = [match[1] for match in map(pattern.fullmatch, state_dict) if match]
    unknown = [name for name in names if name not in OFFICIAL_TASKS]
    if unknown:
        raise ValueError(
            f'The checkpoint has the task(s) {unknown}; known are {list(OFFICIAL_TASKS)}.'
        )
    return tuple(OFFICIAL_TASKS[name] for name in names)


def translate_taskprompter_key(key: str) -> str | None:
    """Our name of an official parameter or buffer that is not dead; None if it is unknown.

    Args:
        key: such as ``backbone.fea_fuse.0.semseg.1.weight``.
    """
    if key == _PROMPTS:
        return key
    for pattern, ours in _PARTS:
        match = pattern.match(key)
        if match is None:
            continue
        groups = match.groupdict()
        if 'task' in groups:
            if groups['task'] not in OFFICIAL_TASKS:
                return None
            groups['task'] = OFFICIAL_TASKS[groups['task']]
        return ours.format(**groups) + key[match.end() :]
    return None


def unwrap_state_dict(content: Any) -> dict[str, Tensor]:
    """The official state dict in what a file holds, without what stands around it.

    Raises:
        ValueError: no key belongs to TaskPrompter's backbone.
    """
    return unwrap_official(
        without_archive(content), lambda key: key.startswith(_HEAD), 'TaskPrompter', f'"{_HEAD}"'
    )


def convert_official_taskprompter(
    official: Mapping[str, Tensor], expected: Mapping[str, Tensor], tasks: Sequence[str]
) -> dict[str, Tensor]:
    """The parameters and buffers of an official state dict under our names, all but the dead ones.

    Args:
        official: official key to tensor, see :func:`unwrap_state_dict`. A tensor is handed on as it
            is; the prompts are put into the order of ``tasks``.
        expected: the ``state_dict()`` of the model they are for.
        tasks: the model's tasks, in its order.

    Raises:
        ValueError: other tasks; official keys that the model has no place for; parameters of the
            model that the file lacks; tensors of another shape.
    """
    theirs = official_tasks(official)
    if set(theirs) != set(tasks):
        raise ValueError(
            f'The checkpoint is for the tasks {list(theirs)}, the config for {list(tasks)}. Name '
            'the same tasks in model.tasks.'
        )
    dead = set(dead_keys(official))
    names = {key: translate_taskprompter_key(key) for key in official if key not in dead}
    converted = {ours: official[key] for key, ours in names.items() if ours in expected}
    prompts = converted.get(_PROMPTS)
    if prompts is not None and len(prompts) == len(theirs):
        converted[_PROMPTS] = prompts[[theirs.index(task) for task in tasks]]
    require_exact(
        names,
        converted,
        expected,
        'arch, img_size, decode_channels, channels and reweighting of model.backbone, num_classes '
        'of model.tasks.semseg',
    )
    return converted


def fit_official_taskprompter(
    official: Mapping[str, Tensor], expected: Mapping[str, Tensor], tasks: Sequence[str]
) -> Conversion:
    """What becomes of an official state dict in a model; see
    :func:`convert_official_taskprompter`, which refuses one that does not fit exactly.
    """
    converted = convert_official_taskprompter(official, expected, tasks)
    return Conversion(converted, dead_keys(official), unused=[], missing=[])
