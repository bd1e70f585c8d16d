"""Names of the official InvPT checkpoints' parameters (prismformore/Multi-Task-Transformer),
translated into ours.

Shapes are the same on both sides: nothing is split, joined or transposed. SyncBatchNorm has the
keys of BatchNorm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from m2h_mm.methods.official_checkpoint import require_exact, unwrap_official

OFFICIAL_TASKS = {
    'semseg': 'semseg',
    'human_parts': 'human_parts',
    'sal': 'saliency',
    'normals': 'normals',
    'depth': 'depth',
    'edge': 'edge',
}
"""Official name to ours."""

_HEAD = 'multi_task_decoder.'
_STAGE = r'multi_task_decoder\.invpt\.invpt_stages\.(?P<i>[0-2])\.'
_BLOCK = _STAGE + r'blocks\.0\.'

# Layers that no prediction depends on, which are not built here.
_DEAD = re.compile(
    r'multi_task_decoder\.(scale_embed\.2|invpt\.norm_mt|invpt\.redu_chan\.0\.\d'
    r'|invpt\.invpt_stages\.0\.blocks\.0\.attn\.fuse_attn)\.'
)
# What stands before a parameter's own name (weight, bias, running_mean, ...), there and here. {k}
# is a task's number, {task} its name.
_PARTS = tuple(
    (re.compile(theirs), ours)
    for theirs, ours in (
        (r'backbone\.', 'backbone.'),
        (
            r'multi_task_decoder\.preliminary_decoder\.(?P<task>\w+)\.0\.conv\.',
            'decoder.preliminary.{task}.0.',
        ),
        (
            r'multi_task_decoder\.preliminary_decoder\.(?P<task>\w+)\.0\.bn1\.',
            'decoder.preliminary.{task}.1.',
        ),
        (
            r'multi_task_decoder\.preliminary_decoder\.(?P<task>\w+)\.1\.conv\.',
            'decoder.preliminary.{task}.3.',
        ),
        (
            r'multi_task_decoder\.preliminary_decoder\.(?P<task>\w+)\.1\.bn1\.',
            'decoder.preliminary.{task}.4.',
        ),
        (
            r'multi_task_decoder\.intermediate_head\.(?P<task>\w+)\.',
            'decoder.preliminary_heads.{task}.',
        ),
        (r'multi_task_decoder\.invpt\.mix_proj\.(?P<task>\w+)\.0\.', 'decoder.mix.{task}.'),
        (r'multi_task_decoder\.scale_embed\.1\.', 'decoder.skips.0.'),
        (r'multi_task_decoder\.scale_embed\.0\.', 'decoder.skips.1.'),
        (_STAGE + r'patch_embed\.(?P<k>\d+)\.proj\.1\.', 'decoder.stages.{i}.up_embed.{task}.0.'),
        (_STAGE + r'patch_embed\.(?P<k>\d+)\.proj\.2\.', 'decoder.stages.{i}.up_embed.{task}.1.'),
        (_STAGE + r'patch_embed\.(?P<k>\d+)\.proj\.4\.', 'decoder.stages.{i}.up_embed.{task}.3.'),
        (_STAGE + r'patch_embed\.(?P<k>\d+)\.proj\.5\.', 'decoder.stages.{i}.up_embed.{task}.4.'),
        (
            _BLOCK + r'attn\.conv_proj_q\.(?P<k>\d+)\.conv\.',
            'decoder.stages.{i}.attn.query_convs.{task}.0.',
        ),
        (
            _BLOCK + r'attn\.conv_proj_q\.(?P<k>\d+)\.bn\.',
            'decoder.stages.{i}.attn.query_convs.{task}.1.',
        ),
        (_BLOCK + r'attn\.proj_q\.', 'decoder.stages.{i}.attn.query.'),
        (_BLOCK + r'attn\.proj_k\.', 'decoder.stages.{i}.attn.key.'),
        (_BLOCK + r'attn\.proj_v\.', 'decoder.stages.{i}.attn.value.'),
        (_BLOCK + r'attn\.proj\.', 'decoder.stages.{i}.attn.proj.'),
        (_BLOCK + r'attn\.fuse_attn\.', 'decoder.stages.{i}.attn.fuse.'),
        (_BLOCK + r'(?P<rest>norm1|norm2|mlp\.fc1|mlp\.fc2)\.', 'decoder.stages.{i}.{rest}.'),
        (r'multi_task_decoder\.invpt\.norm_mts\.(?P<i>[0-2])\.', 'decoder.stages.{i}.joint_norm.'),
        (
            r'multi_task_decoder\.invpt\.redu_chan\.(?P<i>[12])\.(?P<k>\d+)\.',
            'decoder.stages.{i}.reduce.{task}.',
        ),
        (
            r'multi_task_decoder\.invpt\.mt_proj\.(?P<task>\w+)\.(?P<i>[01])\.',
            'decoder.project.{task}.{i}.',
        ),
        (r'heads\.(?P<task>\w+)\.linear_pred\.', 'heads.{task}.conv.'),
    )
)


def is_dead(key: str) -> bool:
    """Whether an official parameter has no effect on any prediction and is not built here."""
    return _DEAD.match(key) is not None


def official_tasks(state_dict: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Our names of an official state dict's tasks, in the order by which its layers are numbered.

    Raises:
        ValueError: a task of another name than those of :data:`OFFICIAL_TASKS`.
    """
    pattern = re.compile(r'multi_task_decoder\.intermediate_head\.(\w+)\.weight')
    names = [match[1] for match in map(pattern.fullmatch, state_dict) if match]
    unknown = [name for name in names if name not in OFFICIAL_TASKS]
    if unknown:
        raise ValueError(
            f'The checkpoint has the task(s) {unknown}; known are {list(OFFICIAL_TASKS)}.'
        )
    return tuple(OFFICIAL_TASKS[name] for name in names)


def translate_invpt_key(key: str, tasks: Sequence[str]) -> str | None:
    """Our name of an official parameter or buffer that is not dead; None if it is unknown.

    Args:
        key: such as ``multi_task_decoder.scale_embed.0.weight``.
        tasks: see :func:`official_tasks`.
    """
    for pattern, ours in _PARTS:
        match = pattern.match(key)
        if match is None:
            continue
        groups = match.groupdict()
        if 'k' in groups:
            if int(groups['k']) >= len(tasks):
                return None
            groups['task'] = tasks[int(groups['k'])]
        elif 'task' in groups:
            groups['task'] = OFFICIAL_TASKS.get(groups['task'])
            if groups['task'] not in tasks:
                return None
        return ours.format(**groups) + key[match.end() :]
    return None


def unwrap_state_dict(content: Mapping) -> dict[str, Tensor]:
    """The official state dict in what a file holds, without what stands around it.

    Raises:
        ValueError: no key belongs to InvPT's decoder.
    """
    return unwrap_official(content, lambda key: key.startswith(_HEAD), 'InvPT', f'"{_HEAD}"')


def convert_official_invpt(
    official: Mapping[str, Tensor], expected: Mapping[str, Tensor], tasks: Sequence[str]
) -> dict[str, Tensor]:
    """The parameters and buffers of an official state dict under our names, all but the dead ones.

    Args:
        official: official key to tensor, see :func:`unwrap_state_dict`. A tensor is handed on as it
            is.
        expected: the ``state_dict()`` of the model they are for.
        tasks: the model's tasks, in its order.

    Raises:
        ValueError: other tasks, or another order of them, by which layers are numbered and channels
            laid out; official keys that the model has no place for; parameters of the model that
            the file lacks; tensors of another shape.
    """
    theirs = official_tasks(official)
    if theirs != tuple(tasks):
        raise ValueError(
            f'The checkpoint is for the tasks {list(theirs)}, the config for {list(tasks)}. Name '
            'the same tasks in the same order in model.tasks.'
        )
    names = {key: translate_invpt_key(key, theirs) for key in official if not is_dead(key)}
    converted = {ours: official[key] for key, ours in names.items() if ours in expected}
    require_exact(
        names,
        converted,
        expected,
        'arch and img_size of model.backbone, channels of model.decoder, num_classes of '
        'model.tasks.semseg',
    )
    return converted
