"""The config of a checkpoint of the authors of M2H, read off its weights."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.config import Config
from torch import Tensor

from m2h_mm.engine.config import load_config
from m2h_mm.models.backbones.dinov2 import ARCHITECTURES, PATCH_SIZE

OFFICIAL_NORMALISATION = dict(mean=(122.4765, 122.4, 120.4365), std=(66.147, 65.6115, 67.3455))
"""What the authors' code subtracts and divides by: .4803, .4800, .4723 and .2594, .2573, .2641 of
RGB in 0..1.
"""
_NYUD_OUTPUTS = 41


def official_config(state: Mapping[str, Tensor]) -> Config:
    """The config of an official M2H checkpoint, read off the names and shapes of its tensors.

    Recognised are M2H or M2H-small, the backbone, the widths, the number of layers of the attention
    and of classes. Of 41 classes the first is "unknown", which is never predicted, and the others
    are NYUD's 40; any other number is taken as it is. Window size (7) and attention heads (4) leave
    no trace and are those of the code.

    Args:
        state: see :func:`~m2h_mm.methods.m2h.checkpoint.unwrap_state_dict`.

    Raises:
        ValueError: a backbone that is none of DINOv2's; weights that every model has are missing or
            of other shapes.
    """
    try:
        return _read_off(state)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            'The checkpoint has the layout of the official M2H code, but what it is cannot be read '
            f'off its weights ({error!r}). Give the config that it was trained with.'
        ) from error


def _read_off(state: Mapping[str, Tensor]) -> Config:
    small = any(key.startswith('mlt_head.pre_attn_proj.') for key in state)
    last = 'conv.pointwise.weight' if small else 'conv.weight'
    width, positions = (
        state['backbone.pos_embed'].shape[-1],
        state['backbone.pos_embed'].shape[1] - 1,
    )
    depth = _count(state, 'backbone.blocks.')
    arch = next(
        (
            name
            for name, settings in ARCHITECTURES.items()
            if name != 'tiny' and (settings['embed_dims'], settings['depth']) == (width, depth)
        ),
        None,
    )
    if arch is None:
        raise ValueError(
            'The checkpoint has the layout of the official M2H code, but its backbone of '
            f'{depth} blocks and {width} channels is none of DINOv2. Give the config that it was '
            'trained with.'
        )
    outputs = state['mlt_head.seg_out.final_conv.weight'].shape[0]
    nyud = outputs == _NYUD_OUTPUTS
    channels = state[f'mlt_head.convs.0.{last}'].shape[0]
    registers = (
        state['backbone.register_tokens'].shape[1] if 'backbone.register_tokens' in state else 0
    )
    return load_config(
        f'm2h{"_small" if small else ""}_vits_nyud_official',
        {
            'tasks.semseg': dict(num_classes=outputs - nyud, unknown_channel=nyud),
            'model.backbone.arch': arch,
            'model.backbone.img_size': round(positions**0.5) * PATCH_SIZE,
            'model.backbone.num_registers': registers,
            'model.neck.out_channels': channels,
            'model.neck.mid_channels': tuple(
                state[f'mlt_head.reassemble_blocks.projects.{level}.{last}'].shape[0]
                for level in range(4)
            ),
            'model.decoder.channels': channels,
            'model.decoder.interaction.num_layers': _count(state, 'mlt_head.cross_attn.'),
        },
    )


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split('.')[0] for key in state if key.startswith(prefix)})
