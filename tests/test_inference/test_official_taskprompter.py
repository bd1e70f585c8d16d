"""Checkpoints of the authors of TaskPrompter: recognised, read off, loaded, converted."""

import json

import pytest
import torch
from fidelity import TOLERANCES
from mmengine.config import Config
from small_taskprompter import config, read_vectors
from torch.testing import assert_close

from m2h_mm.inference.loading import load_model
from m2h_mm.inference.official_taskprompter import official_taskprompter_config
from m2h_mm.models.pipeline import IMAGENET_MEAN


@pytest.fixture(scope='module')
def published(reference):
    path = reference / 'baselines' / 'keys.json'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    model = json.loads(path.read_text())['taskprompter_vitL_nyud_4task']
    return {key: torch.empty(shape, device='meta') for key, shape in model['state_dict']}


@pytest.fixture(scope='module')
def vectors(reference):
    path = reference / 'baselines' / 'taskprompter_block_tiny.npz'
    if not path.is_file():
        pytest.skip(f'{path.name} is only in the full set of reference vectors')
    return read_vectors(path)


def test_the_config_is_read_off_the_weights(published):
    found = official_taskprompter_config(published).model
    assert found.backbone.arch == 'large' and tuple(found.backbone.img_size) == (448, 576)
    assert (found.backbone.decode_channels, found.backbone.channels) == (768, 768)
    assert found.backbone.reweighting is False and found.tasks.semseg.num_classes == 40
    square = {**published, 'backbone.pos_embed': torch.empty(1, 1025, 1024, device='meta')}
    square['backbone.ctr_attn_conv.0.semseg.0.bias'] = torch.empty(16, device='meta')
    found = official_taskprompter_config(square).model
    assert tuple(found.backbone.img_size) == (512, 512) and found.backbone.reweighting is True


def test_what_cannot_be_read_off_is_said(published):
    def refused(state, match):
        with pytest.raises(ValueError, match=f'TaskPrompter code.*{match}.*Give the config'):
            official_taskprompter_config(state)

    short = {key: value for key, value in published.items() if '.blocks.23.' not in key}
    refused(short, '23 blocks and 1024 channels')
    three = {key: value for key, value in published.items() if not key.startswith('heads.edge.')}
    refused(three, r"tasks \['semseg', 'depth', 'normals'\]")
    oblong = {**published, 'backbone.pos_embed': torch.empty(1, 13, 1024, device='meta')}
    refused(oblong, '12 patches')
    bare = {key: value for key, value in published.items() if 'pos_embed' not in key}
    refused(bare, 'pos_embed')


@torch.no_grad()
def test_a_file_of_the_authors_is_loaded_as_it_is(vectors, tmp_path, run):
    """Behind the prefixes of a training, with a config, and converted."""
    state = {
        key.replace('weights/', 'module.'): value
        for key, value in vectors.items()
        if key.startswith('weights/')
    }
    torch.save({'model': state, 'optimizer': {}, 'iter': 3}, tmp_path / 'authors.pth.tar')
    tasks = config()['tasks']
    settings = Config(dict(model=config(), tasks=tasks))
    model, description = load_model(tmp_path / 'authors.pth.tar', settings)
    assert tuple(description.model['data_preprocessor']['mean']) == tuple(IMAGENET_MEAN)
    settings.dump(tmp_path / 'config.py')
    said = run(
        'convert-checkpoint',
        'taskprompter',
        tmp_path / 'authors.pth.tar',
        tmp_path / 'ours.pth',
        '--config',
        tmp_path / 'config.py',
    )
    assert '2 of the file have no effect' in said and 'blocks.3.attn.token_trans1.bias' in said
    converted, _ = load_model(tmp_path / 'ours.pth')
    for found in (model, converted):
        for task, output in found(vectors['input/image']).items():
            assert_close(output, vectors[f'output/head/{task}'], **TOLERANCES[torch.float32])
    settings.model.backbone.reweighting = False
    with pytest.raises(ValueError, match=r'authors\.pth\.tar.*no place in the model.*ctr_attn'):
        load_model(tmp_path / 'authors.pth.tar', settings)
