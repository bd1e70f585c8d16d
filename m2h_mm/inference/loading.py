"""A model from a config and a checkpoint: ours, or one of the authors' own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from torch import Tensor, nn

from m2h_mm.engine.checkpoints import load_weights
from m2h_mm.engine.config import load_config, share_tasks
from m2h_mm.methods.m2h.checkpoint import fit_official_m2h, unwrap_state_dict
from m2h_mm.models.backbones.dinov2 import ARCHITECTURES, PATCH_SIZE
from m2h_mm.registry import DATASETS, MODELS
from m2h_mm.structures.checkpoint_file import read_checkpoint

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
        ValueError: a backbone that is none of DINOv2's.
    """
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
            'The checkpoint has the layout of the official M2H code, but its '
            f'backbone of {depth} blocks '
            f'and {width} channels is none of DINOv2. Give the config that it was '
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


def load_model(
    config: str | Path | Config | None, checkpoint: str | Path
) -> tuple[nn.Module, Config]:
    """Build a model and load its weights, without running what may be in the file.

    Args:
        config: name or path of a config, or a config. May be left out for the authors' M2H
            checkpoints.
        checkpoint: of a training of this project, or the authors' own of M2H, which is taken as it
            is; its input is then normalised as in the authors' code, whatever the config says.

    Returns:
        The model in evaluation mode, on the CPU; its config.

    Raises:
        FileNotFoundError: no such config or checkpoint.
        ValueError: a checkpoint that is damaged, holds more than tensors, or fits another model.
    """
    content = read_checkpoint(checkpoint)
    try:
        official = unwrap_state_dict(content)
    except ValueError:
        official = None  # one of this project
    if config is None and official is None:
        raise ValueError(
            f'{checkpoint} does not have the layout of the official M2H code, by '
            'which the model could be '
            'told: give the config that it was trained with.'
        )
    if config is None:
        cfg = official_config(official)
    else:
        cfg = share_tasks(config) if isinstance(config, Config) else load_config(config)
    if official is None:
        model = MODELS.build(cfg.model)
        load_weights(model, checkpoint, content)
    else:
        cfg.model.setdefault('data_preprocessor', dict(type='MultiTaskDataPreprocessor')).update(
            OFFICIAL_NORMALISATION
        )
        model = MODELS.build(cfg.model)
        conversion = fit_official_m2h(official, model.state_dict())
        if conversion.missing:
            raise ValueError(
                f'{checkpoint} lacks {len(conversion.missing)} weights of the model, '
                'such as '
                f'{conversion.missing[0]}. Use the config that it was trained with.'
            )
        model.load_state_dict(conversion.state_dict, strict=False)
    return model.eval(), cfg


def class_names(cfg: Config, num_classes: int) -> tuple[str, ...]:
    """Names of the segmentation classes of the data that a config tests on; empty where they are
    not known.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    cls = DATASETS.get(dataset['type']) if dataset.get('type') else None
    names = tuple(
        (dataset.get('metainfo') or {}).get('classes')
        or getattr(cls, 'METAINFO', {}).get('classes')
        or ()
    )
    return names if len(names) == num_classes else ()


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split('.')[0] for key in state if key.startswith(prefix)})
