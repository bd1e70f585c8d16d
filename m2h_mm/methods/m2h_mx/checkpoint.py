"""Names of the official M2H-MX checkpoints' parameters, translated into ours.

Shapes are the same on both sides, but for what DINOv3's own checkpoints ask for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from m2h_mm.methods.official_checkpoint import Conversion, compare, unwrap_official, without_archive
from m2h_mm.models.backbones.dinov3_checkpoint import our_keys

OFFICIAL_TASKS = ('semseg', 'depth', 'normals', 'edge')
"""In the order in which the official code numbers the tasks' branches and joins their maps."""
LEVELS = 4
WITHOUT_EFFECT = frozenset({'backbone.mask_token', 'backbone.norm.weight', 'backbone.norm.bias'})
"""Our keys that no output depends on."""
_BACKBONE = 'hfa_adapter.backbone.'
_ADAPTERS = 'adapters.low_rank.'  # ours
_HEADS = {
    'segmentation_head.': 'semseg',
    'depth_head.': 'depth',
    'normals_head.': 'normals',
    'edge_head.': 'edge',
}
_REFINED = {'0': 'finer', '1': 'finest', '2': 'coarser'}
# What the parts of a head are called; those of Sequential containers are numbered from others on.
_IN_HEAD = (
    (r'fusion_blocks\.', 'fuse.blocks.'),
    (r'refine_blocks\.0\.', 'refine.'),
    (r'pred_conv\.', 'prediction.'),
    (r'context\.', 'attention.'),
    (r'(?:task|context)_mixer\.', 'mixer.'),
    (r'boundary_refine\.conv\.', 'boundary.'),
    (r'bin_classifier\.', 'classify.'),
    (r'bin_width_mlp\.1\.', 'widths.0.'),
    (r'bin_width_mlp\.3\.', 'widths.2.'),
    (r'offset_head\.', 'offset.'),
    (r'(?:edge|normal)_proj\.', 'project.'),
)
_DEAD = re.compile(
    r'hfa_adapter\.backbone\.(?:model\.)?(?:norm\.|embeddings\.mask_token)|loss_balancer\.'
)
_SHALLOW = re.compile(rf'hfa_adapter\.(?:projection|fusion)_layers\.[0-{LEVELS - 2}]\.')
_ADAPTER = re.compile(r'(?P<layer>.*)\.lora_(?P<factor>[AB])')


def unwrap_state_dict(content: Mapping) -> dict[str, Tensor]:
    """The official state dict in what a file holds.

    Raises:
        ValueError: no key belongs to M2H-MX.
    """
    return unwrap_official(
        without_archive(content),
        lambda key: key.startswith('hfa_adapter.'),
        'M2H-MX',
        '"hfa_adapter."',
    )


def translate_m2h_mx_key(key: str, official_tasks: Iterable[str], all_layers: bool) -> str | None:
    """Our name of an official parameter outside the backbone; None if it is unknown.

    Args:
        key: such as ``decoder.register_blocks.0.norm.weight``.
        official_tasks: those of the file, in its order.
        all_layers: whether our pyramid is made of all maps of the backbone, see
            :class:`~m2h_mm.methods.m2h_mx.pyramid.M2HMXPyramid`.
    """
    head = next((begin for begin in _HEADS if key.startswith(begin)), None)
    if head is not None:
        rest = key.removeprefix(head)
        for pattern, ours in _IN_HEAD:
            if re.match(pattern, rest):
                return f'decoder.heads.{_HEADS[head]}.{re.sub(pattern, ours, rest, count=1)}'
        return None
    part, _, rest = key.partition('.')
    kind, _, rest = rest.partition('.')
    number, _, name = rest.partition('.')
    if part == 'hfa_adapter' and kind == 'register_proj':
        return f'neck.register_project.{rest}'
    if part == 'hfa_adapter' and kind == 'refinement_layers' and number in _REFINED:
        return f'neck.refine.{_REFINED[number]}.{name}'
    if part == 'hfa_adapter' and kind in ('projection_layers', 'fusion_layers'):
        place = int(number) if all_layers else int(number) - (LEVELS - 1)
        layers = 'project' if kind == 'projection_layers' else 'fuse'
        return f'neck.{layers}.{place}.{name}' if place >= 0 else None
    if part == 'decoder' and kind == 'register_blocks':
        return f'decoder.shared.{LEVELS - 1 - int(number)}.{name}'
    if part == 'decoder' and kind == 'task_branches':
        task, _, name = name.partition('.')
        names = tuple(official_tasks)
        if int(task) < len(names):
            return f'decoder.branches.{names[int(task)]}.{LEVELS - 1 - int(number)}.{name}'
    return None


def convert_official_m2h_mx(
    official: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    tasks: Iterable[str],
    lora_scale: float = 2.0,
) -> dict[str, Tensor]:
    """The parameters of an official state dict under our names.

    Low-rank adapters go to those of the model; a model without any gets them merged into the
    weights.

    Args:
        official: see :func:`unwrap_state_dict`. Unknown keys are left out.
        expected: the model's ``state_dict()``.
        tasks: the model's, in its order, in which the mixers join the maps.
        lora_scale: alpha / rank, which the file does not hold, of adapters that are merged.
            Default: 32 / 16, as published.

    Returns:
        Our key to tensor, also keys that the model does not have.
    """
    converted = _convert_backbone(official, expected, lora_scale)
    for key, ours in _names(official, expected).items():
        if ours is not None:
            converted[ours] = official[key]
    names, theirs = tuple(tasks), tasks_of(official)
    for task in theirs:
        key = f'decoder.heads.{task}.mixer.fuse.0.weight'
        if key in converted:
            converted[key] = _reorder(converted[key], task, theirs, names)
    return converted


def tasks_of(official: Mapping[str, Tensor]) -> list[str]:
    """The tasks of an official state dict, in its order."""
    found = {task for head, task in _HEADS.items() if any(key.startswith(head) for key in official)}
    return [task for task in OFFICIAL_TASKS if task in found]


def _names(official: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, str | None]:
    """Our names of the keys outside the backbone."""
    tasks = tasks_of(official)
    return {
        key: translate_m2h_mx_key(key, tasks, _has_all_layers(expected))
        for key in official
        if not key.startswith(_BACKBONE)
    }


def _has_all_layers(expected: Mapping[str, Tensor]) -> bool:
    return f'neck.project.{LEVELS - 1}.0.weight' in expected


def _convert_backbone(
    official: Mapping[str, Tensor], expected: Mapping[str, Tensor], lora_scale: float
) -> dict[str, Tensor]:
    """DINOv3 and its adapters."""
    plain: dict[str, Tensor] = {}
    factors: dict[str, dict[str, Tensor]] = {}
    for key, value in official.items():
        if not key.startswith(_BACKBONE):
            continue
        name = key.removeprefix(_BACKBONE)
        adapter = _ADAPTER.fullmatch(name)
        if adapter is None:
            plain[name.replace('.linear.', '.')] = value
        else:
            factors.setdefault(adapter['layer'], {})[adapter['factor']] = value
    converted = our_keys(plain, 'the official checkpoint')
    adapters: dict[str, Tensor] = {}
    for layer, pair in factors.items():
        (weight,) = our_keys({f'{layer}.weight': pair['B']}, 'the official checkpoint')
        begin = _ADAPTERS + weight.removesuffix('weight')
        if f'{begin}A' in expected:
            adapters.update({f'{begin}{factor}': value for factor, value in pair.items()})
        else:
            change = lora_scale * pair['B'].double() @ pair['A'].double()
            value = converted[weight]
            converted[weight] = (value.double() + change).to(value.dtype)
    return {**{f'backbone.{name}': value for name, value in converted.items()}, **adapters}


def _reorder(weight: Tensor, task: str, official: list[str], ours: tuple[str, ...]) -> Tensor:
    """A mixer's weight ``(C, (1 + contexts) C, 1, 1)`` for the order of our tasks."""
    theirs = [name for name in official if name != task]
    wanted = [name for name in ours if name in theirs]
    if wanted == theirs or weight.shape[1] != (1 + len(theirs)) * weight.shape[0]:
        return weight  # if that is no mixer of these tasks, its shape will tell
    own, *others = weight.chunk(1 + len(theirs), dim=1)
    blocks = dict(zip(theirs, others, strict=True))
    return torch.cat([own, *(blocks[name] for name in wanted)], dim=1)


def fit_official_m2h_mx(
    official: Mapping[str, Tensor], expected: Mapping[str, Tensor], tasks: Iterable[str]
) -> Conversion:
    """Convert an official state dict and compare it with a model's.

    Args:
        official: see :func:`unwrap_state_dict`.
        expected: the model's ``state_dict()``.
        tasks: the model's, in its order.

    Raises:
        ValueError: tensors of another shape than the model's, or nothing in common.
    """
    converted = convert_official_m2h_mx(official, expected, tasks)
    dead = [
        key
        for key in official
        if _DEAD.match(key) or (_SHALLOW.match(key) and not _has_all_layers(expected))
    ]
    unused = [
        key
        for key, ours in _names(official, expected).items()
        if ours not in expected and key not in dead
    ]
    unused += [
        ours
        for ours in converted
        if ours.startswith('backbone.') and ours not in expected and ours not in WITHOUT_EFFECT
    ]
    return compare(
        {ours: value for ours, value in converted.items() if ours in expected},
        expected,
        WITHOUT_EFFECT,
        dead,
        unused,
        'the backbone, out_channels of the neck, state_size, num_bins and edge_threshold of the '
        'decoder, the tasks and the number of classes',
    )
