"""What a checkpoint says of its model."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from m2h_mm.engine.config import load_config
from m2h_mm.engine.model_description import (
    META_KEY,
    describe_model,
    read_description,
)
from m2h_mm.inference import M2HInferencer

TOY = Path(__file__).parents[1] / 'data' / 'toy_m2h.py'
IMAGE = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)


def test_a_checkpoint_of_a_training_is_all_that_an_inferencer_needs(
    toy_runner, tmp_path, monkeypatch
):
    runner = toy_runner(
        {
            'default_hooks.checkpoint.interval': 4,
            'default_hooks.checkpoint.save_best': 'depth/rmse',
            'default_hooks.checkpoint.rule': 'less',
            'train_cfg.max_iters': 4,
            'train_cfg.val_interval': 4,
        },
        validate=True,
    )
    runner.train()
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir()
    written = list(Path(runner.work_dir).glob('*.pth'))
    assert {path.name.split('_')[0] for path in written} == {'iter', 'best'}
    for path in written:
        shutil.move(path, elsewhere)
    shutil.rmtree(runner.work_dir)
    monkeypatch.chdir(elsewhere)
    expected = M2HInferencer('iter_4.pth', TOY, device='cpu', show_progress=False)
    expected = expected(IMAGE)['predictions'][0]
    for path in written:
        inferencer = M2HInferencer(path.name, device='cpu', show_progress=False)
        assert inferencer.pipeline.size == (84, 112) and inferencer.classes['semseg'][0] == 'wall'
        maps = inferencer(IMAGE)['predictions'][0]
        assert all(np.array_equal(maps[name], expected[name]) for name in expected)


@pytest.fixture(scope='module')
def stored():
    return describe_model(load_config(TOY)).to_plain()


def read(stored):
    return read_description(dict(meta={META_KEY: stored}), 'iter_1.pth')


def test_a_description_is_plain_and_comes_back(stored, tmp_path):
    torch.save(stored, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert read(loaded) == describe_model(load_config(TOY))
    assert list(stored['tasks']) == ['semseg', 'depth', 'normals', 'edge']
    assert 'tasks' not in stored['model'] and 'init_cfg' not in stored['model']['backbone']
    assert len(stored['classes']['semseg']) == 40
    assert read_description(dict(state_dict={}), 'a.pth') is None
    assert read_description([], 'a.pth') is None


@pytest.mark.parametrize(
    'kind',
    ['os.system', 'mmengine.load', 'mmengine.Config', 'antigravity.Anything', 'Unknown', dict(a=1)],
)
def test_what_is_not_registered_is_refused_and_not_imported(stored, kind, monkeypatch):
    changed = copy.deepcopy(stored)
    changed['model']['neck'] = dict(type=kind)
    changed['custom_imports'] = ['my_necks']
    monkeypatch.setattr(
        'mmengine.registry.registry.get_object_from_string', lambda name: pytest.fail(name)
    )
    with pytest.raises(ValueError, match=r"iter_1.pth.*model\.neck\.type.*\['my_necks'\]"):
        read(changed)


def test_a_scope_that_is_not_known_is_refused(stored):
    changed = copy.deepcopy(stored)
    changed['model']['neck']['_scope_'] = 'antigravity'
    with pytest.raises(ValueError, match=r"model\.neck\._scope_='antigravity'"):
        read(changed)
    changed['model']['neck']['_scope_'] = 'm2h_mm'
    assert read(changed).model['neck']['type'] == 'TokenReassembly'


def test_unknown_tasks_are_refused(stored):
    changed = copy.deepcopy(stored)
    changed['tasks']['flow'] = dict(type='optical_flow')
    with pytest.raises(ValueError, match=r"tasks\.flow\.type='optical_flow'.*written by m2h_mm"):
        read(changed)


def test_parts_of_openmmlab_are_known(stored):
    changed = copy.deepcopy(stored)
    changed['model']['backbone'] = dict(type='mmseg.HRNet', norm_cfg=dict(type='SyncBN'))
    assert read(changed).model['backbone']['type'] == 'mmseg.HRNet'


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (dict(format=99), 'format 99'),
        (dict(model=None), 'damaged'),
        (dict(tasks='semseg'), 'damaged'),
        (dict(classes=dict(semseg=3)), 'damaged'),
        (dict(custom_imports=None), 'damaged'),
    ],
)
def test_what_cannot_be_read_is_named(stored, damage, message):
    with pytest.raises(ValueError, match=f'iter_1.pth.*{message}.*config'):
        read({**stored, **damage})


def test_a_config_that_cannot_be_stored_is_named():
    cfg = load_config(TOY)
    cfg.model.decoder['function'] = print
    with pytest.raises(ValueError, match=r'model\.decoder\.function: expected numbers'):
        describe_model(cfg)
