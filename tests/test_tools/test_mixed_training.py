"""One training on three data sets with different labels, in one process and in two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from m2h_mm.evaluation import evaluate_constant_predictor
from m2h_mm.registry import EVALUATOR, MODELS

from .train_in_processes import validate

SCRIPT = Path(__file__).with_name('train_in_processes.py')
CONFIG = Path(__file__).parents[2] / 'configs' / 'm2h' / 'm2h_tiny_rooms_mixed.py'
ITERATIONS, AVERAGED = 30, 6
TASKS = ['semseg', 'depth', 'normals', 'edge']
HELD = dict(rooms=TASKS, depth_rooms=['depth'], class_rooms=['semseg'])
TOY = """
_base_ = '{config}'
rooms = dict(data_root='{data}', size=(30, 44), num_workers=0)
datasets = dict(
    rooms=dict(**rooms, num_train=6, num_val=4),
    depth_rooms=dict(**rooms, num_train=4, num_val=3),
    class_rooms=dict(**rooms, num_train=2, num_val=2))
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=24, depth=4, num_heads=3), out_indices=(0, 1, 2, 3)),
    neck=dict(out_channels=8, mid_channels=None),
    decoder=dict(channels=8, interaction=dict(window_size=3)),
    heads=dict(semseg=dict(hidden_channels=(8,)), depth=dict(hidden_channels=(8,)),
               normals=dict(hidden_channels=(8,)), edge=dict(hidden_channels=(8,))),
    weighting=dict(interval=5))
train_dataloader = dict(batch_size=2, dataset=dict(datasets=datasets))
val_dataloader = dict(dataset=dict(datasets=datasets))
test_dataloader = dict(dataset=dict(datasets=datasets))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
train_cfg = dict(max_iters={iterations}, val_interval={iterations})
log_processor = dict(window_size=1)
default_hooks = dict(
    checkpoint=dict(interval={iterations}, save_best='depth_rooms/depth/rmse'), logger=dict(interval=1),
    visualization=dict(num_frames=9))
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('mixed')
    (folder / 'toy.py').write_text(TOY.format(config=CONFIG, data=folder / 'rooms', iterations=ITERATIONS))
    return folder / 'toy.py'


@pytest.fixture(scope='module')
def both(config) -> list[dict]:
    """What each of two processes saw."""
    store = config.with_name('store')
    started = [subprocess.Popen(
        [sys.executable, str(SCRIPT), str(config), str(store), str(rank), '2', str(ITERATIONS)], cwd=config.parent,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
        for rank in range(2)]
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], '\n'.join(said)
    return [torch.load(f'{store}.{rank}.pt', weights_only=True) for rank in range(2)]


def labelled(batch: list[dict]) -> set[str]:
    return {task for sample in batch for task in sample['tasks']}


def assert_falls(losses: list[float]) -> None:
    assert len(losses) >= 2 * AVERAGED, losses
    assert sum(losses[-AVERAGED:]) < 0.9 * sum(losses[:AVERAGED]), losses


def test_every_task_learns_from_the_samples_that_have_it(both):
    for run in both:
        for batch, losses in zip(run['batches'], run['losses'], strict=True):
            assert all(sample['tasks'] == HELD[sample['dataset']] for sample in batch)
            assert {task for task in TASKS if losses[f'raw_{task}'] > 0} == labelled(batch)
    for task in TASKS:
        assert_falls([losses[f'raw_{task}'] for pair in zip(*(run['losses'] for run in both), strict=True)
                      for losses in pair if losses[f'raw_{task}'] > 0])
    for key in ('rooms/depth/rmse', 'rooms/normals/mean', 'depth_rooms/depth/rmse'):
        assert both[0]['end'][key] < both[0]['start'][key]


def test_two_processes_stay_in_step_though_one_lacks_a_task(both):
    batches = zip(*(run['batches'] for run in both), strict=True)
    assert sum(labelled(one) != labelled(other) for one, other in batches) > ITERATIONS / 3
    parameters = [run['parameters'] for run in both]
    assert all(torch.equal(value, parameters[1][name]) for name, value in parameters[0].items())
    weights, others = ([[losses[f'w_{task}'] for task in TASKS] for losses in run['losses']] for run in both)
    # Two epochs of the weighting, of 5 iterations each, have the weights they began with.
    assert weights == others and weights[0] == weights[9] != weights[-1]


def test_two_processes_share_the_draws_and_the_frames_of_one(config, both):
    cfg = Config.fromfile(config)
    train, val = Runner.build_dataloader(cfg.train_dataloader, seed=0), Runner.build_dataloader(cfg.val_dataloader)
    drawn = [sample.frame_id for _, batch in zip(range(ITERATIONS), train, strict=False)
             for sample in batch['data_samples']]
    dealt = [sample['frame_id'] for pairs in zip(*(run['batches'] for run in both), strict=True)
             for pair in zip(*pairs, strict=True) for sample in pair]
    assert dealt[:len(drawn)] == drawn and {name.split('/')[0] for name in drawn} == set(HELD)

    # 9 frames: the second process is given one of them again.
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    assert both[0]['start'] == both[1]['start'] == pytest.approx(validate(model, val, cfg), rel=1e-6)
    assert {key.split('/')[0] for key in both[0]['start']} == set(HELD)

    constant = evaluate_constant_predictor(model.tasks, train.dataset, val, EVALUATOR.build(cfg.val_evaluator))
    assert constant.keys() == both[0]['start'].keys() and constant['depth_rooms/depth/rmse'] > 0


def test_one_process_trains_draws_and_keeps_the_best_of_one_data_set(config, run, tmp_path):
    run('train.py', config, '--work-dir', tmp_path)
    scalars = next(tmp_path.glob('*/vis_data/scalars.json')).read_text().splitlines()
    logged = [line for line in map(json.loads, scalars) if 'raw_depth' in line]
    assert len(logged) == ITERATIONS
    for task in TASKS:
        assert_falls([line[f'raw_{task}'] for line in logged if line[f'raw_{task}'] > 0])
    assert [path.name for path in tmp_path.glob('best*')] == [f'best_depth_rooms_depth_rmse_iter_{ITERATIONS}.pth']
    assert {path.name.split('-')[0] for path in tmp_path.glob('*/vis_data/vis_image/*.png')} == set(HELD)
