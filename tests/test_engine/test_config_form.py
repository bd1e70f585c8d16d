"""Values of another form than a config has in their place are a message with the key."""

import copy

import pytest
from mmengine.config import Config

from m2h_mm.cli.command import read_cfg_options
from m2h_mm.engine.config_check import check_arguments, check_config
from m2h_mm.engine.config_form import as_values_of
from m2h_mm.engine.config_override import check_overrides
from m2h_mm.engine.shared_tasks import share_tasks

CONFIG = dict(
    tasks=dict(depth=dict()),
    model=dict(type='MultiTaskModel'),
    train_dataloader=dict(dataset=dict(type='RoomsDataset', pipeline=[dict(type='Pad')])),
    val_evaluator=dict(type='MultiTaskEvaluator', metrics=dict(depth=dict())),
    param_scheduler=[dict(type='PolyLR')],
    default_hooks=dict(timer=dict(type='IterTimerHook')),
    env_cfg=dict(cudnn_benchmark=True),
    optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3), paramwise_cfg=None),
    work_dir=None,
    default_scope='m2h_mm',
)


def changed(key, value):
    config = copy.deepcopy(CONFIG)
    *parents, last = key.split('.')
    part = config
    for parent in parents:
        part = part[int(parent) if parent.isdecimal() else parent]
    part[int(last) if last.isdecimal() else last] = value
    return Config(config)


def test_a_sound_form_passes():
    check_arguments(Config(CONFIG))
    check_arguments(changed('tasks', ['depth']))
    check_arguments(changed('tasks.depth', None))
    check_arguments(changed('optim_wrapper', None))
    check_arguments(changed('train_dataloader.dataset', None))


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('model', 5, 'model: expected a dict, got 5'),
        ('tasks', 'depth', 'tasks: expected a dict or a list'),
        ('tasks.depth', 'x', 'tasks.depth: expected a dict'),
        ('tasks', [3], 'tasks.0: expected a text'),
        ('train_dataloader', True, 'train_dataloader: expected a dict'),
        ('train_dataloader.dataset', [], 'train_dataloader.dataset: expected a dict'),
        ('train_dataloader.dataset.pipeline', 'Pad', 'pipeline: expected a list'),
        ('train_dataloader.dataset.pipeline.0', 'Pad', r'pipeline\.0: expected a dict'),
        ('val_evaluator', 1.5, 'val_evaluator: expected a dict or a list'),
        ('val_evaluator.metrics', 1, 'val_evaluator.metrics: expected a dict or a list'),
        ('param_scheduler', 'PolyLR', 'param_scheduler: expected a dict or a list'),
        ('default_hooks.timer', 'IterTimerHook', 'default_hooks.timer: expected a dict'),
        ('env_cfg', 'cudnn', 'env_cfg: expected a dict'),
        ('optim_wrapper.optimizer', 'AdamW', 'optim_wrapper.optimizer: expected a dict'),
        ('work_dir', 3, 'work_dir: expected a text'),
        ('default_scope', 'm2h_nn', "default_scope: there is no package 'm2h_nn'"),
        ('default_scope', '../x', 'default_scope: there is no package'),
        ('param_scheduler.0.type', 0.5, r'param_scheduler\.0\.type: expected the name of a class'),
        ('param_scheduler.0.type', '.optim', r'param_scheduler\.0\.type: .*cannot be imported'),
    ],
)
def test_another_form_is_refused_with_its_key(key, value, message):
    with pytest.raises(ValueError, match=message):
        check_arguments(changed(key, value))


def test_what_is_nested_without_end_is_refused():
    value = 0
    for _ in range(60):
        value = [value]
    with pytest.raises(ValueError, match='val_evaluator.*nested more than 50 times'):
        check_arguments(changed('val_evaluator.metrics.depth', dict(prefix=value)))


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('model', None, "model: expected a dict with a 'type', the config has none"),
        ('model', dict(tpye='MultiTaskModel'), "model: .*'type'"),
        ('train_dataloader.dataset.pipeline.0', dict(tpye='Pad'), "pipeline.0: .*mean 'type'"),
        ('model', dict(type='MultiTaskModel', tasks=['depth']), 'model: it cannot be built.*head'),
    ],
)
def test_what_cannot_be_built_is_refused_with_its_key(key, value, message):
    with pytest.raises(ValueError, match=message):
        check_config(changed(key, value))


def test_arguments_of_a_task_are_a_dict():
    with pytest.raises(ValueError, match=r'tasks\.0: expected the arguments of a task'):
        share_tasks(Config(dict(model=dict(tasks={'0': 'dict(a=1)'}))))


def test_errors_in_a_users_own_code_keep_their_stack():
    with pytest.raises(AttributeError), as_values_of('model'):
        None.forward()  # here


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (dict(work_dir=dict(a=1)), 'work_dir: None in the base config, which has no keys'),
        (dict(param_scheduler={'0': 3}), r'param_scheduler\.0: one item of a list'),
        (dict(param_scheduler={'0': dict(type=dict(a=1))}), "type: 'PolyLR' in the base config"),
    ],
)
def test_overrides_of_another_form(overrides, message):
    with pytest.raises(ValueError, match=message):
        check_overrides(overrides, CONFIG)


@pytest.mark.parametrize('text', ['a=[1,2', 'a=(1,'])
def test_options_that_cannot_be_understood(text):
    with pytest.raises(ValueError, match='--cfg-options a=.* cannot be understood'):
        read_cfg_options([text])
