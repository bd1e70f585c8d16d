"""The converter of official M2H checkpoints, run as a user runs it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from m2h_mm.engine.config import load_config
from m2h_mm.methods.m2h.checkpoint import (
    DEAD_KEYS,
    convert_official_m2h,
    fit_official_m2h,
    unwrap_state_dict,
)
from m2h_mm.registry import MODELS
from m2h_mm.structures.checkpoint_file import read_checkpoint

TINY = 'dict(embed_dims=48, depth=4, num_heads=3), out_indices=(0, 1, 2, 3), img_size=70'
# What tells M2H-small from M2H are the switches in braces.
CONFIG = """
default_scope = 'm2h_mm'
tasks = dict(semseg=dict(num_classes={num_classes}), depth=dict(), normals=dict(), edge=dict())
model = dict(
    type='MultiTaskModel',
    backbone=dict(type='DINOv2', arch={arch}),
    neck=dict(type='TokenReassembly', out_channels={channels}, separable={small}),
    decoder=dict(type='M2HDecoder', channels={channels}, separable={small},
                 interaction=dict(type='WMCA', reduction={reduction}, pooling={pooling}),
                 merger=dict(type='GGFM', tasks=('semseg', 'depth'), separable={small})),
    heads=dict(semseg=dict(type='M2HSemsegHead', separable={small}),
               depth=dict(type='M2HDepthHead', separable={small}),
               normals=dict(type='M2HNormalsHead', separable={small}),
               edge=dict(type='M2HEdgeHead', separable={small})),
    losses=dict(semseg=dict(type='CrossEntropyLoss'), depth=dict(type='L1Loss'),
                normals=dict(type='CosineLoss'), edge=dict(type='BalancedBCELoss')))
"""
OUTPUTS = dict(depth='depth', semseg='seg', normals='normals', edge='edges')


def write_config(
    folder: Path, small: bool, channels: int = 32, num_classes: int = 7, arch: str = TINY
) -> Path:
    path = folder / 'config.py'
    path.write_text(
        CONFIG.format(
            small=small,
            reduction=4 if small else 1,
            pooling=2 if small else 1,
            channels=channels,
            num_classes=num_classes,
            arch=arch,
        )
    )
    return path


@pytest.fixture
def convert(run) -> Callable[..., str]:
    """``convert(SRC, DST, *options, status=0)``: what the command printed."""
    return partial(run, 'convert-checkpoint', 'm2h')


@pytest.mark.parametrize('variant', ['full', 'small'])
def test_converted_model_predicts_what_the_official_one_does(variant, convert, reference, tmp_path):
    source = reference / 'm2h' / f'm2h_{variant}_tiny.npz'
    if not source.is_file():
        pytest.skip(f'{source.name} is only in the full set of reference vectors')
    config = write_config(tmp_path, small=variant == 'small')
    converted = tmp_path / 'out' / ('m2h.pth' if variant == 'full' else 'm2h.safetensors')
    said = convert(source, converted, '--config', config)
    assert 'are not used' not in said and 'not in the file' not in said

    model = MODELS.build(load_config(config).model).eval()
    missing, unexpected = model.load_state_dict(
        read_checkpoint(converted)['state_dict'], strict=False
    )
    assert not unexpected and not set(missing) - DEAD_KEYS
    with np.load(source) as vectors:
        image = torch.from_numpy(vectors['input/c']).double()
        padded = F.pad(image, (1, 1, 0, 1))  # to multiples of 14, centred
        with torch.no_grad():
            outputs = model.double()(padded)
        for task, theirs in OUTPUTS.items():
            out = F.interpolate(outputs[task], size=image.shape[-2:], mode='bilinear')
            np.testing.assert_allclose(out, vectors[f'output/c/{theirs}'], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'channels'),
    [
        ('m2h_vits14_channels256_classes41', 256),
        ('m2h_small_vits14_channels256_classes41', 256),
        ('m2h_small_vits14_channels96_classes41', 96),
    ],
)
def test_the_real_checkpoints_fit(name, channels, reference, tmp_path):
    """Every key and shape of the published architectures has its place, and nothing else is in the
    model.
    """
    listed = json.loads((reference / 'm2h' / 'state_dict_keys.json').read_text())['models'][name]
    config = write_config(
        tmp_path, small='small' in name, channels=channels, num_classes=41, arch="'small'"
    )
    with torch.device('meta'):
        official = {key: torch.empty(shape) for key, shape in listed['keys']}
        model = MODELS.build(load_config(config).model)
    conversion = fit_official_m2h(official, model.state_dict())
    assert not conversion.unused and not conversion.missing
    assert set(conversion.dead) == DEAD_KEYS
    assert len(conversion.state_dict.keys() | DEAD_KEYS) == listed['state_dict_entries']
    ours = sum(
        parameter.numel() for name, parameter in model.named_parameters() if name not in DEAD_KEYS
    )
    dead = sum(official[key].numel() for key in DEAD_KEYS)
    assert ours == listed['total_params'] - dead


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: {'state_dict': state, 'epoch': 3},
        lambda state: {'model': state},
        lambda state: {'state_dict': {f'module.{key}': value for key, value in state.items()}},
        lambda state: {
            **{f'weights/{key}': value for key, value in state.items()},
            'input/a': torch.zeros(1),
        },
    ],
)
def test_wrappers_and_prefixes_are_taken_off(wrap):
    state = {'backbone.cls_token': torch.zeros(1), 'mlt_head.convs.0.conv.weight': torch.ones(1)}
    assert unwrap_state_dict(wrap(state)) == state


def test_a_file_of_another_kind_is_refused():
    with pytest.raises(ValueError, match='mlt_head'):
        unwrap_state_dict({'state_dict': {'layer1.weight': torch.zeros(1)}})


def test_tasks_of_numbered_norms():
    state = {
        f'mlt_head.cross_attn.1.norm2_layers.{index}.bias': torch.tensor(index)
        for index in range(4)
    }
    assert convert_official_m2h(state) == {
        f'decoder.interaction.layers.1.norm2.{task}.bias': torch.tensor(index)
        for index, task in enumerate(('edge', 'normals', 'semseg', 'depth'))
    }


def test_what_does_not_fit_is_named(convert, reference, tmp_path):
    """A file with one tensor too many and one too few; a config with another number of classes."""
    config = write_config(tmp_path, small=True)
    with np.load(reference / 'm2h' / 'm2h_small_tiny.npz') as archive:
        state = {
            key.removeprefix('weights/'): torch.from_numpy(archive[key])
            for key in archive.files
            if key.startswith('weights/')
        }
    state['mlt_head.depth_bins'] = torch.zeros(1)
    del state['mlt_head.seg_out.final_conv.bias']
    torch.save({'state_dict': state}, tmp_path / 'official.pt')

    said = convert(tmp_path / 'official.pt', tmp_path / 'm2h.pth', '--config', config, status=1)
    assert 'mlt_head.depth_bins' in said and 'heads.semseg.final.bias' in said
    assert 'backbone.mask_token' in said and 'nothing was written' in said
    assert not (tmp_path / 'm2h.pth').exists()

    convert(tmp_path / 'official.pt', tmp_path / 'm2h.pth', '--config', config, '--partial')
    assert (
        'heads.semseg.final.weight'
        in torch.load(tmp_path / 'm2h.pth', weights_only=True)['state_dict']
    )

    said = convert(
        tmp_path / 'official.pt',
        tmp_path / 'other.pth',
        '--config',
        config,
        '--cfg-options',
        'tasks.semseg.num_classes=40',
        status=1,
    )
    assert 'heads.semseg.final.weight is (7, 64, 1, 1), the model wants (40, 64, 1, 1)' in said
