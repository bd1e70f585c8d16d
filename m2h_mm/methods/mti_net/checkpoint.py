"""Names of the parameters of official MTI-Net and PAD-Net checkpoints
(SimonVandenhende/Multi-Task-Learning-PyTorch), translated into ours.

Two things differ in more than the name. The distillation's convolutions of one source are joined
into one. The propagation's channels are laid out task by task in the official order of tasks, and
are put into the model's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from m2h_mm.methods.official_checkpoint import unwrap_official
from m2h_mm.structures.checkpoint_file import TRAINING_STATE

OFFICIAL_TASKS = {
    'semseg': 'semseg',
    'human_parts': 'human_parts',
    'sal': 'saliency',
    'normals': 'normals',
    'edge': 'edge',
    'depth': 'depth',
}
"""Official name to ours."""

_TASK = r'(?P<task>\w+)\.'
_SCALE = r'_scale_(?P<s>\d)\.'
# What stands before a parameter's own name, there and here. {s} is a scale, {p} the one below it,
# {task} a task, {part} what is called the same in both. A backbone's own names are those of
# mmseg.HRNet.
_PARTS = tuple(
    (re.compile(theirs), ours)
    for theirs, ours in (
        (r'backbone\.1\.last_layer\.0\.', 'decoder.fuse.conv.'),
        (r'backbone\.1\.last_layer\.1\.', 'decoder.fuse.norm.'),
        (r'backbone\.(0\.)?(?=[a-z])', 'backbone.'),
        (r'scale_(?P<s>\d)\.refinement\.' + _TASK, 'decoder.refine.{s}.{task}.'),
        (r'scale_(?P<s>\d)\.decoders\.' + _TASK, 'decoder.predict.{s}.{task}.'),
        (r'fpm' + _SCALE + r'non_linear\.', 'decoder.propagate.{p}.mask.'),
        (r'fpm' + _SCALE + r'dimensionality_reduction\.', 'decoder.propagate.{p}.reduce.'),
        (r'fpm' + _SCALE + r'se\.' + _TASK + r'squeeze\.', 'decoder.propagate.{p}.gates.{task}.'),
        (r'heads\.' + _TASK + r'last_layer\.0\.', 'decoder.fuse.{task}.conv.'),
        (r'heads\.' + _TASK + r'last_layer\.1\.', 'decoder.fuse.{task}.norm.'),
        (r'heads\.' + _TASK + r'last_layer\.3\.', 'heads.{task}.conv.'),
        (r'initial_task_prediction_heads\.layers\.' + _TASK, 'decoder.refine.{task}.'),
        (r'initial_task_prediction_heads\.conv_out\.' + _TASK, 'decoder.predict.{task}.'),
        (r'heads\.' + _TASK + r'(?P<part>[01])\.', 'heads.{task}.blocks.{part}.'),
        (r'heads\.' + _TASK + r'2\.', 'heads.{task}.conv.'),
    )
)
_DISTILLATION = re.compile(r'(distillation_scale_\d|multi_modal_distillation)\.')
_JOINED = re.compile(r'decoder\.distil\.((?P<s>\d)\.)?convs\.(?P<source>\w+)\.weight')
# An auxiliary task's last prediction is made by its head here.
_LAST_PREDICTION = re.compile(r'decoder\.predict\.(0\.)?(?P<task>[a-z]\w*)\.')
# The propagation's tensors that are laid out task by task, along which dimension.
_TASK_MAJOR = (
    (re.compile(r'decoder\.propagate\.\d\.(mask\.0|reduce)\.(conv1|downsample\.0)\.weight'), 1),
    (re.compile(r'decoder\.propagate\.\d\.mask\.2\.(weight|bias)'), 0),
)


def official_tasks(state_dict: Mapping[str, Tensor]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Our names of an official state dict's tasks, all of them and the main ones, in the official
    order.

    Raises:
        ValueError: a task of another name than those of :data:`OFFICIAL_TASKS`.
    """
    found = []
    for pattern in (
        r'(?:scale_0\.refinement|initial_task_prediction_heads\.layers)\.(\w+)\.',
        r'heads\.(\w+)\.',
    ):
        names = dict.fromkeys(
            match[1] for match in map(re.compile(pattern).match, state_dict) if match
        )
        unknown = [name for name in names if name not in OFFICIAL_TASKS]
        if unknown:
            raise ValueError(
                f'The checkpoint has the task(s) {unknown}; known are {list(OFFICIAL_TASKS)}.'
            )
        found.append(tuple(OFFICIAL_TASKS[name] for name in names))
    return found[0], found[1]


def translate_mti_net_key(key: str, main_tasks: Sequence[str]) -> str | None:
    """Our name of an official parameter or buffer outside the distillation; None if it is unknown.

    Args:
        key: such as ``scale_0.decoders.semseg.weight``.
        main_tasks: see :func:`official_tasks`.
    """
    for pattern, ours in _PARTS:
        match = pattern.match(key)
        if match is None:
            continue
        groups = match.groupdict()
        if 'task' in groups:
            groups['task'] = OFFICIAL_TASKS.get(groups['task'])
        if 's' in groups:
            groups['p'] = int(groups['s']) - 1
        name = ours.format(**groups) + key[match.end() :]
        last = _LAST_PREDICTION.match(name)
        if last and last['task'] not in main_tasks:
            return f'heads.{last["task"]}.conv.{name[last.end() :]}'
        return name
    return None


def unwrap_state_dict(content: Mapping) -> dict[str, Tensor]:
    """The official state dict in what a file holds, without what stands around it.

    Raises:
        ValueError: no key belongs to MTI-Net's or PAD-Net's distillation.
    """
    expected = '"distillation_scale_" or "multi_modal_distillation."'
    return unwrap_official(content, _DISTILLATION.match, 'MTI-Net or PAD-Net', expected)


def convert_official_mti_net(
    official: Mapping[str, Tensor], expected: Mapping[str, Tensor], tasks: Sequence[str]
) -> dict[str, Tensor]:
    """The parameters and buffers of an official MTI-Net or PAD-Net state dict under our names.

    Args:
        official: official key to tensor, see :func:`unwrap_state_dict`.
        expected: the ``state_dict()`` of the model they are for.
        tasks: the model's tasks, in its order.

    Raises:
        ValueError: other tasks, or another order of them where the propagation's mask compares
            channels of several tasks; official keys that the model has no place for; parameters of
            the model that the file lacks; tensors of another shape.
    """
    theirs, main = official_tasks(official)
    if set(theirs) != set(tasks):
        raise ValueError(
            f'The checkpoint is for the tasks {list(theirs)}, the config for {list(tasks)}. Name '
            'the same tasks in model.tasks.'
        )
    names = {
        key: translate_mti_net_key(key, main) for key in official if not _DISTILLATION.match(key)
    }
    converted = {
        # One of another shape has no order that is known: it is named below.
        ours: _reorder(ours, official[key], theirs, tasks)
        if official[key].shape == expected[ours].shape
        else official[key]
        for key, ours in names.items()
        if ours in expected
    }
    joined = {
        ours: distillation_parts(ours, [task for task in tasks if task in main])
        for ours in expected
        if _JOINED.fullmatch(ours)
    }
    converted.update(
        (ours, _join([official[key] for key in keys]))
        for ours, keys in joined.items()
        if official.keys() >= set(keys)
    )
    used = {key for keys in joined.values() for key in keys}
    problems = {
        'of the checkpoint have no place in the model': [
            key for key in official if key not in used and names.get(key) not in expected
        ],
        'of the model are not in the checkpoint': [
            *(key for key in used if key not in official),
            *(
                key
                for key in expected
                if key not in converted and key not in joined and not key.startswith(TRAINING_STATE)
            ),
        ],
        'have another shape than the model wants': [
            f'{key} {tuple(tensor.shape)} for {tuple(expected[key].shape)}'
            for key, tensor in converted.items()
            if tensor.shape != expected[key].shape
        ],
    }
    if any(problems.values()):
        found = [
            f'{len(keys)} tensors {what}: '
            f'{", ".join(sorted(keys)[:8])}{", ..." if len(keys) > 8 else ""}'
            for what, keys in problems.items()
            if keys
        ]
        raise ValueError(
            'The checkpoint does not fit the config. ' + '. '.join(found) + '. Check '
            'extra of '
            'model.backbone, num_classes of model.tasks.semseg, and model.decoder: '
            'its type, and its '
            f'main_tasks, which are {list(main)} in the checkpoint.'
        )
    return converted


def distillation_parts(name: str, main_tasks: Sequence[str]) -> list[str]:
    """The official parameters that are joined, output channel after output channel, into one of
    ours.

    Args:
        name: of a convolution of a ``MultiModalDistillationUnit``, such as
            ``decoder.distil.0.convs.depth.weight``.
        main_tasks: the unit's targets, in the model's order.
    """
    match = _JOINED.fullmatch(name)
    unit = 'multi_modal_distillation' if match['s'] is None else f'distillation_scale_{match["s"]}'
    official = {ours: theirs for theirs, ours in OFFICIAL_TASKS.items()}
    return [
        f'{unit}.self_attention.{official[task]}.{official[match["source"]]}.{kind}.weight'
        for kind in ('conv', 'attention.0')
        for task in main_tasks
        if task != match['source']
    ]


def _join(parts: Sequence[Tensor]) -> Tensor:
    """One after the other; the first that does not fit its neighbours alone, to be named."""
    odd = [part for part in parts if not part.ndim or part.shape[1:] != parts[0].shape[1:]]
    return odd[0] if odd else torch.cat(list(parts))


def _reorder(name: str, tensor: Tensor, theirs: Sequence[str], tasks: Sequence[str]) -> Tensor:
    """``tensor``, its channels put from the order of tasks ``theirs`` into that of ``tasks``."""
    if tuple(theirs) == tuple(tasks):
        return tensor
    for pattern, dim in _TASK_MAJOR:
        if pattern.fullmatch(name):
            channels = tensor.shape[dim] // len(tasks)
            if channels % len(tasks):
                raise ValueError(
                    f'The checkpoint was made for the tasks {list(theirs)} in this order, and '
                    f'the groups of {len(tasks)} channels that its mask compares do not divide '
                    f'the {channels} channels of a task. Name the tasks of model.tasks in the '
                    'same order.'
                )
            order = [theirs.index(task) for task in tasks]
            return torch.cat(
                [tensor.narrow(dim, index * channels, channels) for index in order], dim=dim
            )
    return tensor
