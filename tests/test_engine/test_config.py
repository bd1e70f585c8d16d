"""Configs by path and by name, and the tasks that they declare."""

from pathlib import Path

import pytest
from mmengine.config import Config

from m2h_mm.engine import build_runner
from m2h_mm.engine.config import (
    CONFIGS,
    dataset_names,
    find_config,
    load_config,
    load_dataset_config,
    read_dataset_config,
    restrict_tasks,
    share_tasks,
)
from m2h_mm.engine.config_check import check_config
from m2h_mm.registry import DATASETS, MODELS

TINY = CONFIGS / 'm2h' / 'm2h_tiny_rooms.py'


# ---- files
def test_config_is_read_with_its_work_dir_and_options(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('launcher = None\n')
    cfg = load_config(path, {'launcher': 'none'})
    assert cfg.launcher == 'none' and cfg.work_dir == 'work_dirs/mine'
    assert load_config(str(path), {}, 'elsewhere').work_dir == 'elsewhere'
    with pytest.raises(FileNotFoundError, match='There is no config'):
        load_config(tmp_path / 'other.py')


@pytest.mark.parametrize(
    'name', ['m2h_tiny_rooms', 'm2h_tiny_rooms.py', 'configs/m2h/m2h_tiny_rooms.py', TINY]
)
def test_configs_are_found_by_name_from_any_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == TINY
    assert load_config(name).work_dir == 'work_dirs/m2h_tiny_rooms'


@pytest.mark.parametrize(
    'name', ['m2h_tiny_room', 'elsewhere/m2h_tiny_rooms.py', 'nyud', 'interactions_tiny_rooms']
)
def test_what_is_no_config_is_not_found(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f'There is no config {name}'):
        find_config(name)


def test_tasks_are_kept_alone_in_a_work_dir_of_their_own():
    cfg = load_config(TINY, tasks=['depth'])
    assert list(cfg.tasks) == list(cfg.model.tasks) == list(cfg.model.heads) == ['depth']
    assert list(cfg.train_dataloader.dataset.tasks) == ['depth']
    assert cfg.work_dir == 'work_dirs/m2h_tiny_rooms_depth'
    with pytest.raises(ValueError, match="Did you mean 'depth'"):
        load_config(TINY, tasks=['detph'])


def test_data_sets_are_found_by_name():
    known = ['cityscapes', 'hypersim', 'nyud', 'pascal_context', 'rooms', 'scannet']
    assert dataset_names() == known
    cfg = load_dataset_config('cityscapes')
    assert list(cfg.test_dataloader.dataset.tasks) == ['semseg', 'disparity', 'edge']
    with pytest.raises(ValueError, match='--dataset: expected one of'):
        load_dataset_config('nyu')


def test_the_command_line_says_where_the_labels_are(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        "test_dataloader = dict(dataset=dict(data_root='a', split='val', pipeline=[]))\n"
    )
    kept = read_dataset_config(None, str(path), {}).test_dataloader.dataset
    assert (kept.data_root, kept.split, kept.test_mode) == ('a', 'val', True)
    options = {'test_dataloader.dataset.pipeline': [dict(type='Pad')]}
    changed = read_dataset_config(None, str(path), options, 'b', 'train').test_dataloader.dataset
    assert (changed.data_root, changed.split, changed.pipeline) == (
        'b',
        'train',
        [dict(type='Pad')],
    )
    assert read_dataset_config('nyud', None, {}, 'b').test_dataloader.dataset.data_root == 'b'
    path.write_text('model = dict()\n')
    with pytest.raises(ValueError, match='mine.py: expected test_dataloader.dataset.*has .*model'):
        read_dataset_config(None, str(path), {})


# ---- tasks
TASKS = dict(semseg=dict(num_classes=7), depth=dict(max_depth=5.0))


def declare(**parts) -> Config:
    return Config(dict(tasks=TASKS, **parts))


def test_tasks_reach_the_model_and_every_data_set():
    frames = dict(type='NYUDDataset', data_root='a')
    cfg = share_tasks(
        declare(
            model=dict(type='MultiTaskModel'),
            train_dataloader=dict(
                dataset=dict(
                    type='MixedDataset',
                    datasets=dict(
                        all=frames,
                        depth=dict(frames, tasks=['depth']),
                        other=dict(frames, tasks=dict(semseg=dict(num_classes=3))),
                        twice=dict(type='RepeatDataset', times=2, dataset=frames),
                    ),
                )
            ),
            val_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[frames, frames])),
            test_dataloader=dict(dataset=frames),
        )
    )
    assert cfg.model.tasks == TASKS
    members = cfg.train_dataloader.dataset.datasets
    assert members['all'].tasks == members.twice.dataset.tasks == TASKS
    assert members.depth.tasks == dict(depth=dict(max_depth=5.0)), 'named alone'
    assert members.other.tasks == dict(semseg=dict(num_classes=3)), 'its own'
    assert 'tasks' not in cfg.train_dataloader.dataset and 'tasks' not in members.twice
    assert [part.tasks for part in cfg.val_dataloader.dataset.datasets] == [TASKS, TASKS]
    assert cfg.test_dataloader.dataset.tasks == TASKS
    before = cfg.to_dict()
    assert share_tasks(cfg).to_dict() == before, 'a second time'


def test_members_of_a_mixture_are_evaluated_on_their_own_tasks():
    cfg = load_config('m2h_tiny_rooms_mixed')
    all_tasks = dict(tasks=list(cfg.tasks))
    found = dict(
        rooms=all_tasks, depth_rooms=dict(tasks=['depth']), class_rooms=dict(tasks=['semseg'])
    )
    assert cfg.val_evaluator.datasets == cfg.test_evaluator.datasets == found
    own = dict(type='MixedEvaluator', datasets=dict(rooms=dict()))
    rooms = dict(type='MixedDataset', datasets=dict(rooms=dict(type='RoomsDataset')))
    cfg = share_tasks(declare(val_dataloader=dict(dataset=rooms), val_evaluator=own))
    assert cfg.val_evaluator.datasets == own['datasets']


def test_what_takes_no_tasks_is_left_alone():
    @DATASETS.register_module(force=True)
    class WithoutTasks:
        def __init__(self, size):
            pass

    @MODELS.register_module(force=True)
    class ModelWithoutTasks:
        def __init__(self, size):
            pass

    parts = dict(
        model=dict(type='ModelWithoutTasks', size=1),
        train_dataloader=dict(dataset=dict(type='WithoutTasks', size=1)),
        val_evaluator=dict(type='Evaluator', metrics=[]),
    )
    assert share_tasks(declare(**parts)).to_dict() == dict(tasks=TASKS, **parts)
    assert share_tasks(Config(parts)).to_dict() == parts, 'and asks for no declaration'


def test_tasks_may_be_names_or_stand_in_the_model():
    model = dict(type='MultiTaskModel')
    assert share_tasks(Config(dict(tasks=['depth'], model=model))).model.tasks == dict(depth=dict())
    assert share_tasks(Config(dict(model=dict(model, tasks=TASKS)))).tasks == TASKS


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(model=dict(type='MultiTaskModel')), 'tasks: expected what the model is to learn'),
        (
            dict(tasks=TASKS, model=dict(type='MultiTaskModel', tasks=['depth'])),
            r"model.tasks: expected the tasks that .* declares .*got \{'depth'.*leave model",
        ),
    ],
)
def test_tasks_that_disagree_and_none_are_refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        share_tasks(Config(cfg))
    with pytest.raises(ValueError, match=message):
        build_runner(Config(cfg))


def test_a_data_set_may_not_have_classes_that_the_model_has_not():
    dataset = 'train_dataloader.dataset'
    with pytest.raises(ValueError, match=r'tasks\.semseg: the data set has 41 classes, .* 40\.'):
        load_config(TINY, {f'{dataset}.tasks': dict(semseg=dict(num_classes=41))})
    fewer = load_config(TINY, {f'{dataset}.tasks': dict(semseg=dict(num_classes=13))})
    assert fewer.train_dataloader.dataset.tasks.semseg.num_classes == 13
    mapped = {
        f'{dataset}.tasks': dict(semseg=dict(num_classes=60)),
        f'{dataset}.class_space': 'NYUDDataset',
    }
    assert load_config(TINY, mapped).train_dataloader.dataset.tasks.semseg.num_classes == 60


def test_a_misspelt_task_is_found_by_the_check():
    with pytest.raises(ValueError, match="tasks.depth.max_deph.*Did you mean 'max_depth'"):
        load_config(TINY, {'tasks.depth.max_deph': 3})
    cfg = load_config(TINY)
    cfg.tasks.depth.max_deph = cfg.model.tasks.depth.max_deph = 3
    with pytest.raises(ValueError, match="tasks.depth.max_deph.*Did you mean 'max_depth'"):
        check_config(cfg)
    with pytest.raises(ValueError, match="unknown task 'dpeth'.*Did you mean 'depth'"):
        check_config(load_config(TINY, {'tasks.dpeth': {}}))


def test_a_mixture_of_data_sets_loses_the_members_that_have_no_task_left():
    cfg = restrict_tasks(load_config('m2h_tiny_rooms_mixed'), ['depth'])
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        members = loader.dataset.datasets
        assert list(members) == ['rooms', 'depth_rooms']
        assert [list(member.tasks) for member in members.values()] == [['depth'], ['depth']]
    assert list(cfg.val_evaluator['datasets']) == ['rooms', 'depth_rooms']
    assert cfg.default_hooks.checkpoint.save_best == 'rooms/depth/rmse'
    assert Path(find_config('m2h_tiny_rooms_mixed')).is_file()
