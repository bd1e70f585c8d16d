"""One training on three data sets with different labels, in one process and in two."""

from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner

from m2h_mm.engine import build_runner, installed
from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.engine.config import load_config
from m2h_mm.evaluation import evaluate_constant_predictor
from m2h_mm.registry import EVALUATOR
from m2h_mm.tasks import build_tasks

from .conftest import run_two_processes

CONFIG = Path(__file__).parents[2] / 'configs' / 'm2h' / 'm2h_tiny_rooms_mixed.py'
ITERATIONS, AVERAGED = 30, 6
TASKS = ['semseg', 'depth', 'normals', 'edge']
HELD = dict(rooms=TASKS, depth_rooms=['depth'], class_rooms=['semseg'])
TOY = """
_base_ = '{config}'
custom_imports = dict(imports=['recording'])
custom_hooks = [dict(type='RecordHook', validate_first=True)]
rooms = dict(data_root='{data}', size=(30, 44), num_workers=0)
datasets = dict(
    rooms=dict(**rooms, num_train=6, num_val=4),
    depth_rooms=dict(**rooms, num_train=4, num_val=3),
    class_rooms=dict(**rooms, num_train=2, num_val=2))
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=24, depth=4, num_heads=3),
                  out_indices=(0, 1, 2, 3)),
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
    checkpoint=dict(interval={iterations}, save_best='depth_rooms/depth/rmse'),
    logger=dict(interval=1),
    visualization=dict(num_frames=9))
"""


@pytest.fixture(scope='module')
def config(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('mixed')
    (folder / 'toy.py').write_text(
        TOY.format(config=CONFIG, data=folder / 'rooms', iterations=ITERATIONS)
    )
    return folder / 'toy.py'


@pytest.fixture(scope='module')
def both(config) -> list[dict]:
    """What each of two processes saw."""
    work_dir = config.with_name('both')
    run_two_processes(config.parent, ('train.py', config, '--work-dir', work_dir))
    return [torch.load(work_dir / f'record_{rank}.pt', weights_only=True) for rank in range(2)]


@pytest.fixture(scope='module')
def one(config) -> Path:
    """The work dir of a training in one process, this one."""
    work_dir = config.with_name('one')
    with pytest.MonkeyPatch.context() as patch, installed():
        patch.syspath_prepend(Path(__file__).parent)
        build_runner(load_config(str(config), {}, str(work_dir))).train()
    return work_dir


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
        assert_falls(
            [
                losses[f'raw_{task}']
                for pair in zip(*(run['losses'] for run in both), strict=True)
                for losses in pair
                if losses[f'raw_{task}'] > 0
            ]
        )
    start, end = both[0]['validations']
    for key in ('rooms/depth/rmse', 'rooms/normals/mean', 'depth_rooms/depth/rmse'):
        assert end[key] < start[key]


def test_two_processes_stay_in_step_though_one_lacks_a_task(both):
    batches = zip(*(run['batches'] for run in both), strict=True)
    assert sum(labelled(one) != labelled(other) for one, other in batches) > ITERATIONS / 3
    parameters = [run['parameters'] for run in both]
    assert all(torch.equal(value, parameters[1][name]) for name, value in parameters[0].items())
    weights, others = (
        [[losses[f'w_{task}'] for task in TASKS] for losses in run['losses']] for run in both
    )
    # Two epochs of the weighting, of 5 iterations each, have the weights they began with.
    assert weights == others and weights[0] == weights[9] != weights[-1]


def test_two_processes_share_the_draws_and_the_frames_of_one(config, both, one, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    cfg = load_config(config)
    train, val = (
        Runner.build_dataloader(cfg.train_dataloader, seed=0),
        Runner.build_dataloader(cfg.val_dataloader),
    )
    drawn = [
        sample.frame_id
        for _, batch in zip(range(ITERATIONS), train, strict=False)
        for sample in batch['data_samples']
    ]
    dealt = [
        sample['frame_id']
        for pairs in zip(*(run['batches'] for run in both), strict=True)
        for pair in zip(*pairs, strict=True)
        for sample in pair
    ]
    assert dealt[: len(drawn)] == drawn and {name.split('/')[0] for name in drawn} == set(HELD)

    # 9 frames: the second process is given one of them again.
    alone = torch.load(one / 'record_0.pt', weights_only=True)['validations']
    assert both[0]['validations'] == both[1]['validations']
    assert both[0]['validations'][0] == pytest.approx(alone[0], rel=1e-6)
    assert {key.split('/')[0] for key in alone[0]} == set(HELD)

    constant = evaluate_constant_predictor(
        build_tasks(cfg.model.tasks), train.dataset, val, EVALUATOR.build(cfg.val_evaluator)
    )
    assert constant.keys() == alone[0].keys() and constant['depth_rooms/depth/rmse'] > 0


def test_two_processes_validate_what_they_save(config, both):
    """Each has other statistics of batch normalisation from its own frames."""
    saved = read_checkpoint(config.with_name('both') / f'iter_{ITERATIONS}.pth')['state_dict']
    for run in both:
        assert run['statistics'] and all(
            torch.equal(value, saved[name]) for name, value in run['statistics'].items()
        )


def test_one_process_draws_and_keeps_the_best_of_one_data_set(one):
    losses = torch.load(one / 'record_0.pt', weights_only=True)['losses']
    assert len(losses) == ITERATIONS
    for task in TASKS:
        assert_falls([line[f'raw_{task}'] for line in losses if line[f'raw_{task}'] > 0])
    best = sorted(path.name for path in one.glob('best*'))
    assert best and all(name.startswith('best_depth_rooms_depth_rmse_iter_') for name in best)
    assert {path.name.split('-')[0] for path in one.glob('*/vis_data/vis_image/*.png')} == set(HELD)
