"""The converter of official InvPT checkpoints, run as a user runs it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from m2h_mm.engine.config import load_config
from m2h_mm.methods.invpt.checkpoint import (
    convert_official_invpt,
    is_dead,
    official_tasks,
    translate_invpt_key,
    unwrap_state_dict,
)
from m2h_mm.models.backbones import ViT
from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

REPOSITORY = Path(__file__).resolve().parents[2]
TASKS = ('semseg', 'depth', 'normals', 'edge')
ARCH = dict(embed_dims=64, depth=4, num_heads=2)
CONFIG = f"""
_base_ = '{REPOSITORY}/configs/invpt/invpt_vitl_nyud.py'
tasks = dict(semseg=dict(num_classes=5))
model = dict(backbone=dict(arch=dict({ARCH}, _delete_=True), img_size=(128, 192), init_cfg=None),
             decoder=dict(channels=32, extra_channels=8))
"""


@pytest.fixture
def convert(run) -> Callable[..., str]:
    """``convert(SRC, DST, *options, status=0)``: what the command printed."""
    return partial(run, 'convert-checkpoint', 'invpt')


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / 'config.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope='module')
def vectors(reference) -> dict[str, torch.Tensor]:
    path = reference / 'baselines' / 'invpt_tiny.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    with np.load(path, allow_pickle=False) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.fixture(scope='module')
def listed(reference) -> dict:
    path = reference / 'baselines' / 'keys.json'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    return json.loads(path.read_text())['invpt_vitL_nyud_4task']


@pytest.fixture(scope='module')
def official(vectors) -> dict[str, torch.Tensor]:
    """A whole official state dict: the tiny decoder behind a backbone of its width."""
    torch.manual_seed(0)
    backbone = ViT(ARCH, img_size=(128, 192)).state_dict()
    return {
        **{f'backbone.{key}': value for key, value in backbone.items()},
        **{
            key.removeprefix('weights/'): value
            for key, value in vectors.items()
            if key.startswith('weights/')
        },
    }


@torch.no_grad()
def test_converted_model_predicts_what_the_official_one_does(
    official, vectors, convert, config, tmp_path
):
    content = dict(iter=40000, model={f'module.{key}': value for key, value in official.items()})
    torch.save(content, tmp_path / 'official.pth.tar')
    said = convert(
        tmp_path / 'official.pth.tar', tmp_path / 'out' / 'invpt.pth', '--config', config
    )
    assert (
        '14 of the file have no effect' in said and 'multi_task_decoder.scale_embed.2.bias' in said
    )

    model = MODELS.build(load_config(config).model).eval()
    state = torch.load(tmp_path / 'out' / 'invpt.pth', weights_only=True)['state_dict']
    model.load_state_dict(state)
    names = ('block_6', 'block_12', 'block_18', 'final_norm')
    features = Features(
        tuple(vectors[f'input/{name}'].transpose(1, 2).unflatten(2, (8, 12)) for name in names)
    )
    model.backbone.forward = lambda image: features
    for task, output in model(torch.zeros(2, 3, 128, 192)).items():
        assert_close(output, vectors[f'output/head/{task}'], rtol=1e-5, atol=1e-5)


def test_the_real_checkpoint_fits(listed):
    """Every key and shape of the published architecture has its place, and nothing else is in the
    model.
    """
    with torch.device('meta'):
        official = {key: torch.empty(shape) for key, shape in listed['state_dict']}
        model = MODELS.build(
            load_config(REPOSITORY / 'configs' / 'invpt' / 'invpt_vitl_nyud.py').model
        )
    assert [key for key in official if is_dead(key)] == sorted(
        listed['dead_keys'], key=list(official).index
    )
    converted = convert_official_invpt(official, model.state_dict(), tuple(model.tasks))
    assert converted.keys() == model.state_dict().keys()
    assert len(converted) == listed['num_keys'] - len(listed['dead_keys'])
    ours = sum(parameter.numel() for parameter in model.parameters())
    assert ours == listed['parameter_count'] - listed['dead_parameter_count']


@pytest.mark.parametrize(
    'wrap',
    [
        lambda state: state,
        lambda state: {'state_dict': state},
        lambda state: {'model': state, 'iter': 3},
        lambda state: {f'module.{key}': value for key, value in state.items()},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(wrap):
    state = {
        'backbone.cls_token': torch.zeros(1),
        'multi_task_decoder.scale_embed.0.bias': torch.ones(1),
    }
    assert unwrap_state_dict(wrap(state)) == state


@pytest.mark.parametrize(
    'content', [{'state_dict': {'mlt_head.bias': torch.zeros(1)}}, {}, [torch.zeros(1)]]
)
def test_a_file_of_another_kind_is_refused(content):
    with pytest.raises(ValueError, match='multi_task_decoder'):
        unwrap_state_dict(content)


def test_layers_are_numbered_by_the_checkpoints_own_order_of_tasks():
    state = {
        f'multi_task_decoder.intermediate_head.{task}.weight': 0
        for task in ('semseg', 'sal', 'human_parts')
    }
    tasks = official_tasks(state)
    assert tasks == ('semseg', 'saliency', 'human_parts')
    begin = 'multi_task_decoder.invpt.'
    assert (
        translate_invpt_key(f'{begin}redu_chan.2.1.bias', tasks)
        == 'decoder.stages.2.reduce.saliency.bias'
    )
    assert (
        translate_invpt_key(f'{begin}mt_proj.sal.1.running_var', tasks)
        == 'decoder.project.saliency.1.running_var'
    )
    assert translate_invpt_key(f'{begin}redu_chan.2.3.bias', tasks) is None
    assert translate_invpt_key('heads.depth.linear_pred.bias', tasks) is None
    with pytest.raises(ValueError, match='flow'):
        official_tasks({'multi_task_decoder.intermediate_head.flow.weight': 0})


def test_what_does_not_fit_is_named(official, config):
    with torch.device('meta'):
        expected = MODELS.build(load_config(config).model).state_dict()
    assert convert_official_invpt(official, expected, TASKS).keys() == expected.keys()

    for extra in ('multi_task_decoder.invpt.gate.weight', 'backbone.head.weight', 'aux.weight'):
        with pytest.raises(
            ValueError, match=f'1 tensors of the checkpoint have no place in the model: {extra}'
        ):
            convert_official_invpt({**official, extra: torch.zeros(1)}, expected, TASKS)
    lacking = {
        key: value for key, value in official.items() if key != 'heads.edge.linear_pred.bias'
    }
    with pytest.raises(
        ValueError, match='1 tensors of the model are not in the checkpoint: heads.edge.conv.bias'
    ):
        convert_official_invpt(lacking, expected, TASKS)
    other = {**official, 'backbone.pos_embed': torch.zeros(1, 5, 64)}
    with pytest.raises(
        ValueError,
        match=r'another shape .*backbone\.pos_embed \(1, 5, 64\) for '
        r'\(1, 97, 64\)',
    ):
        convert_official_invpt(other, expected, TASKS)


def test_another_order_of_tasks_is_refused(official, convert, config, tmp_path):
    """The joint norms' channels are laid out by it."""
    torch.save(official, tmp_path / 'official.pth')
    config.write_text(
        CONFIG.replace(
            'tasks = dict(semseg',
            'tasks = dict(_delete_=True, depth=dict(), edge=dict(), normals=dict(), semseg',
        )
    )
    said = convert(tmp_path / 'official.pth', tmp_path / 'invpt.pth', '--config', config, status=1)
    assert 'same tasks in the same order in model.tasks' in said
    assert not (tmp_path / 'invpt.pth').exists()
