"""Checkpoints of the authors of M2H-MX: recognised, read off, loaded, converted."""

import json

import numpy as np
import pytest
import torch
from fidelity import TOLERANCES
from mmengine.config import Config
from official_m2h_mx import FOUR, config, read_arrays
from torch.testing import assert_close

from m2h_mm.inference.loading import load_model
from m2h_mm.inference.official_m2h_mx import official_m2h_mx_config
from m2h_mm.models.pipeline import IMAGENET_MEAN

BACKBONE = 'hfa_adapter.backbone.'


@pytest.fixture(scope='module')
def published(reference):
    path = reference / 'm2h_mx' / 'm2h_mx_keys.json'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    models = json.loads(path.read_text())['models']
    return {
        name: {key: torch.empty(shape, device='meta') for key, shape, _ in model['keys']}
        for name, model in models.items()
    }


@pytest.mark.parametrize(
    ('name', 'arch', 'classes', 'tasks', 'threshold'),
    [
        ('nyudv2_base', 'base', 40, 4, 0.6),
        ('itc_large', 'large', 40, 2, None),
    ],
)
def test_the_config_is_read_off_the_weights(published, name, arch, classes, tasks, threshold):
    cfg = official_m2h_mx_config(published[name])
    model, heads = cfg.model, cfg.model.decoder.heads
    assert (model.backbone.arch, model.backbone.num_registers) == (arch, 4)
    assert model.tasks.semseg.num_classes == classes and len(heads) == len(model.tasks) == tasks
    assert heads.semseg.get('edge_threshold') == threshold
    assert (heads.depth.num_bins, model.decoder.state_size, model.neck.out_channels) == (
        64,
        32,
        256,
    )
    assert model.adapters is None


def test_what_cannot_be_read_off_is_said(published):
    state = published['scannet_large']
    short = {key: value for key, value in state.items() if '.layer.23.' not in key}
    with pytest.raises(ValueError, match='23 blocks and 1024 channels is none of DINOv3'):
        official_m2h_mx_config(short)
    one = {key: value for key, value in state.items() if not key.startswith('depth_head.')}
    with pytest.raises(ValueError, match=r"of the tasks \['semseg'\]"):
        official_m2h_mx_config(one)
    bare = {key: value for key, value in state.items() if 'register_proj' not in key}
    with pytest.raises(ValueError, match='register_proj'):
        official_m2h_mx_config(bare)


@pytest.fixture(scope='module')
def arrays(reference):
    return read_arrays(reference, 'm2h_mx_tiny')


@torch.no_grad()
def test_a_file_of_the_authors_is_loaded_as_it_is(arrays, tmp_path):
    """Behind the prefixes and beside the balancer of a training."""
    state = {
        key.replace('weights/', 'module.'): value
        for key, value in arrays.items()
        if key.startswith('weights/')
    }
    state['module.loss_balancer.log_vars'] = torch.zeros(4)
    torch.save({'model': state, 'epoch': 3}, tmp_path / 'authors.pt')
    cfg = config(**FOUR, adapters=None)
    cfg['data_preprocessor'] = dict(
        type='MultiTaskDataPreprocessor', mean=[1.0] * 3, size_divisor=16
    )
    model, description = load_model(tmp_path / 'authors.pt', Config(dict(model=cfg)))
    assert tuple(description.model['data_preprocessor']['mean']) == tuple(IMAGENET_MEAN)
    for task, output in model(arrays['input/b']).items():
        expected = arrays[f'output/b/final/{task}']
        assert_close(output, expected, **TOLERANCES[torch.float32])


def test_the_converter_keeps_adapters_or_merges_them(run, arrays, reference, tmp_path):
    source = reference / 'm2h_mx' / 'm2h_mx_tiny.npz'
    for name, others in dict(kept={}, merged=dict(adapters=None)).items():
        cfg = config(**FOUR, **others)
        tasks = cfg.pop('tasks')
        text = f'default_scope = "m2h_mm"\ntasks = {tasks!r}\nmodel = {cfg!r}\n'
        (tmp_path / f'{name}.py').write_text(text)
        found = run(
            'convert-checkpoint',
            'm2h_mx',
            source,
            tmp_path / f'{name}.pth',
            '--config',
            tmp_path / f'{name}.py',
        )
        # The layers of the three shallow maps, the final norm and the mask token.
        assert '27 of the file have no effect' in found
        state = torch.load(tmp_path / f'{name}.pth', weights_only=True)['state_dict']
        weight = state['backbone.blocks.0.attn.q_proj.weight']
        begin = f'weights/{BACKBONE}layer.0.attention.q_proj.'
        plain = arrays[f'{begin}linear.weight']
        change = 2 * arrays[f'{begin}lora_B'] @ arrays[f'{begin}lora_A']
        assert_close(weight, plain if name == 'kept' else plain + change)
        assert ('adapters.low_rank.blocks.0.attn.q_proj.A' in state) == (name == 'kept')
        assert np.isfinite(weight).all()
