"""Names of the official M2H checkpoints' parameters (UAV-Centre-ITC/M2H), translated into ours.

M2H and M2H-small share one table. Shapes are the same on both sides: nothing is split, joined or
transposed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from m2h_mm.methods.official_checkpoint import Conversion, compare, unwrap_official, without_archive

OFFICIAL_TASKS = {'edges': 'edge', 'normals': 'normals', 'sem_seg': 'semseg', 'depth': 'depth'}
"""Official name to ours, in the official order, by which the norms of the cross-task attention are
numbered.
"""

DEAD_KEYS = frozenset({'backbone.mask_token', 'backbone.norm.weight', 'backbone.norm.bias'})
"""Keys of the backbone, the same in both, that no output depends on."""

_TASK = {
    **OFFICIAL_TASKS,
    **{str(index): ours for index, ours in enumerate(OFFICIAL_TASKS.values())},
    'semantic': 'semseg',
    'semseg': 'semseg',
}

# What a part's own parameters are called, by the beginning of the name; the longest that fits is
# replaced. All but the heads' plain layers sit in wrappers whose attribute "conv" does not exist
# here.
_FUSION = {
    'project.conv': 'project',
    'res_conv_unit1.conv1.conv': 'lateral_unit.conv1',
    'res_conv_unit1.conv2.conv': 'lateral_unit.conv2',
    'res_conv_unit2.conv1.conv': 'unit.conv1',
    'res_conv_unit2.conv2.conv': 'unit.conv2',
    'res_unit.block.1': 'unit.conv',
}
_UNIQUE = {
    'reassemble.projects.conv': 'project',
    'reassemble.resize_layers': 'shrink',
    'conv_proj.conv': 'conv',
    'fusion_block': 'fusion',
    **{f'fusion_block.{theirs}': f'fusion.{ours}' for theirs, ours in _FUSION.items()},
}
_MERGE = {
    'conv_orig': 'streams.fused',
    'conv_attn': 'streams.attended',
    'conv_uniq': 'streams.unique',
    'gate_fc': 'gate',
    'out_conv': 'out',
}
_ATTENTION = {
    'attn.in_proj_': 'qkv.',
    'attn.out_proj': 'proj',
    'ffn_fc1': 'ffn.0',
    'ffn_fc2': 'ffn.2',
}
_ASPP = {
    'aspp1': 'branches.0',
    'aspp2': 'branches.1',
    'aspp3': 'branches.2',
    'aspp4': 'branches.3',
    'global_avg_pool.1': 'pool.0',
    'global_avg_pool.2': 'pool.1',
    'conv1': 'fuse',
    'bn1': 'norm',
    'project.0': 'fuse',
    'project.1': 'norm',
}
_UPSAMPLE = {
    'upsample': 'body',
    'upsample.6': 'expand',
    'conv1': 'body.0',
    'bn1': 'body.1',
    'conv2': 'body.3',
    'bn2': 'body.4',
    'refine_conv': 'expand',
    'residual': 'shortcut',
    'channel_attn.1': 'gate.squeeze',
    'channel_attn.3': 'gate.excite',
}
_CONTEXT_HEAD = {
    **{f'aspp.{theirs}': f'aspp.{ours}' for theirs, ours in _ASPP.items()},
    **{
        f'upsample{block + 1}.{theirs}': f'upsample.{block}.{ours}'
        for block in (0, 1)
        for theirs, ours in _UPSAMPLE.items()
    },
    'refine.conv1.conv': 'refine.convs.0',
    'refine.conv2.conv': 'refine.convs.2',
    'refine.conv.0': 'refine.convs.0',
    'spatial_attn.0': 'spatial_gate',
    'final_conv': 'final',
}
_PLAIN_HEAD = {
    **{
        f'head.{block}.{theirs}': f'upsample.{block}.{ours}'
        for block in (0, 1)
        for theirs, ours in _UPSAMPLE.items()
    },
    'head.2': 'final',
}

# Where a part sits, and its table.
_PARTS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (r'backbone\.', 'backbone.', {}),
    (r'reassemble_blocks\.readout_projects\.(?P<i>\d)\.0\.', 'neck.levels.{i}.readout.', {}),
    (r'reassemble_blocks\.projects\.(?P<i>\d)\.conv\.', 'neck.levels.{i}.project.', {}),
    (r'reassemble_blocks\.resize_layers\.(?P<i>\d)\.', 'neck.levels.{i}.resample.', {}),
    (r'convs\.(?P<i>\d)\.conv\.', 'neck.levels.{i}.out.', {}),
    (r'fusion_blocks_(?P<task>\w+)\.(?P<i>\d)\.', 'decoder.fusion.{task}.blocks.{i}.', _FUSION),
    (r'project_(?P<task>\w+)\.conv\.', 'decoder.fusion.{task}.project.', {}),
    (r'pre_attn_proj\.(?P<task>\w+)\.', 'decoder.interaction.pre_project.{task}.', {}),
    (r'post_attn_proj\.(?P<task>\w+)\.', 'decoder.interaction.post_project.{task}.', {}),
    (
        r'cross_attn\.(?P<i>\d+)\.norm_layers\.(?P<task>[0-3])\.',
        'decoder.interaction.layers.{i}.norm1.{task}.',
        {},
    ),
    (
        r'cross_attn\.(?P<i>\d+)\.norm2_layers\.(?P<task>[0-3])\.',
        'decoder.interaction.layers.{i}.norm2.{task}.',
        {},
    ),
    (r'cross_attn\.(?P<i>\d+)\.(?=attn|ffn)', 'decoder.interaction.layers.{i}.', _ATTENTION),
    (r'unique_(?P<task>\w+)_feature\.', 'decoder.merger.unique.{task}.', _UNIQUE),
    (r'restore_(?P<task>[a-z]+)\.', 'decoder.merger.merge.{task}.', _MERGE),
    (r'conv_depth\.', 'heads.depth.', _CONTEXT_HEAD),
    (r'seg_out\.', 'heads.semseg.', _CONTEXT_HEAD),
    (r'conv_normal\.', 'heads.normals.', _PLAIN_HEAD),
    (r'conv_edge\.', 'heads.edge.', _PLAIN_HEAD),
)


def translate_m2h_key(key: str) -> str | None:
    """Our name of an official parameter or buffer, such as ``mlt_head.convs.0.conv.weight``; None
    if it is unknown.
    """
    name = key.removeprefix('mlt_head.')
    for pattern, ours, table in _PARTS:
        match = re.match(pattern, name)
        if match is None:
            continue
        groups = match.groupdict()
        if 'task' in groups:
            if groups['task'] not in _TASK:
                return None
            groups['task'] = _TASK[groups['task']]
        rest = name[match.end() :]
        begin = max((theirs for theirs in table if rest.startswith(theirs)), key=len, default='')
        return ours.format(**groups) + table.get(begin, '') + rest[len(begin) :]
    return None


def convert_official_m2h(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters and buffers of an official state dict, M2H or M2H-small, under our names.

    Args:
        state_dict: official key to tensor. A tensor is handed on as it is. Unknown keys are left
            out.

    Returns:
        Our key to tensor. The dead keys of the backbone (:data:`DEAD_KEYS`) are among them.
    """
    names = {key: translate_m2h_key(key) for key in state_dict}
    return {ours: state_dict[key] for key, ours in names.items() if ours is not None}


def unwrap_state_dict(content: Mapping) -> dict[str, Tensor]:
    """The official state dict in what a file holds.

    Takes off what stands around it and, of ``.npz`` archives, ``weights/`` with everything that is
    not below it.

    Raises:
        ValueError: no key belongs to M2H's head.
    """
    return unwrap_official(
        without_archive(content), lambda key: key.startswith('mlt_head.'), 'M2H', '"mlt_head."'
    )


def fit_official_m2h(official: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Conversion:
    """Convert an official state dict and compare it with a model's.

    Args:
        official: see :func:`convert_official_m2h`.
        expected: the model's ``state_dict()``.

    Raises:
        ValueError: tensors of another shape than the model's, or nothing in common.
    """
    names = {key: translate_m2h_key(key) for key in official}
    converted = {ours: official[key] for key, ours in names.items() if ours in expected}
    unused = [key for key, ours in names.items() if ours not in expected and key not in DEAD_KEYS]
    return compare(
        converted,
        expected,
        DEAD_KEYS,
        [key for key in official if key in DEAD_KEYS],
        unused,
        'separable (M2H-small), channels, the number of classes and the backbone',
    )
