"""Numbers that cannot be, values of the wrong kind, and keys in the depths of a config."""

from copy import deepcopy

import pytest
from torch import nn

from m2h_mm.engine.config import CONFIGS, find_config, load_config
from m2h_mm.engine.config_check import check_arguments, warn_of_unused_names
from m2h_mm.engine.config_files import BASE_DATASETS
from m2h_mm.engine.config_variables import read_config
from m2h_mm.experiments.sweep import find_sweep
from m2h_mm.registry import MODELS

TINY = CONFIGS / 'm2h' / 'm2h_tiny_rooms.py'
NAN = float('nan')


@pytest.fixture(scope='module')
def tiny_config():
    return load_config(TINY)


def changed(cfg, key, value):
    cfg = deepcopy(cfg)
    cfg.merge_from_dict({key: value})
    return cfg


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('train_cfg.max_iters', 0),
        ('train_cfg.max_iters', -5),
        ('optim_wrapper.optimizer.lr', 10**400),
        ('train_cfg.max_iters', 2.5),
        ('train_cfg.max_iters', '5k'),
        ('train_cfg.val_interval', 0),
        ('train_dataloader.batch_size', 0),
        ('train_dataloader.num_workers', -1),
        ('test_dataloader.batch_size', True),
        ('optim_wrapper.optimizer.lr', -0.1),
        ('optim_wrapper.optimizer.lr', NAN),
        ('optim_wrapper.optimizer.lr', '1e-4'),
        ('optim_wrapper.optimizer.betas', (NAN, 0.9)),
        ('optim_wrapper.clip_grad.max_norm', 0),
        ('optim_wrapper.accumulative_counts', 0),
        ('param_scheduler.0.end', 0),
        ('default_hooks.logger.interval', 0),
        ('default_hooks.checkpoint.interval', 0),
        ('default_hooks.checkpoint.max_keep_ckpts', 0),
        ('default_hooks.visualization.num_frames', -1),
        ('model.neck.out_channels', -1),
        ('model.neck.mid_channels', (32, 0, 64, 64)),
        ('model.decoder.interaction.num_heads', 0),
        ('model.decoder.interaction.window_size', 2.5),
        ('model.losses.depth.1.loss_weight', -1),
        ('tasks.semseg.num_classes', 0),
        ('train_dataloader.dataset.num_train', -1),
        ('randomness.seed', -1),
        ('randomness.seed', 'five'),
        ('randomness.seed', 2**40),
        ('randomness.deterministic', 'no'),
        ('log_processor.window_size', 0),
        ('model.freeze_backbone', 'never'),
        ('model.aux_weight', NAN),
        ('train_dataloader.sampler.shuffle', 'yes'),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_key(tiny_config, key, value):
    with pytest.raises(ValueError, match=rf'^{key}[.\d]*: expected .*, got '):
        check_arguments(changed(tiny_config, key, value))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('train_cfg.max_iters', 4e4),
        ('train_dataloader.num_workers', 0),
        ('optim_wrapper.clip_grad', None),
        ('optim_wrapper.clip_grad', dict(type='value', clip_value=0.5)),
        ('optim_wrapper.optimizer.lr', 0.0),
        ('default_hooks.checkpoint.interval', -1),
        ('default_hooks.visualization', None),
        ('randomness.seed', None),
        ('env_cfg.dist_cfg', dict(backend='gloo', timeout=60)),
        ('custom_hooks', [dict(type='EMAHook', momentum=0.1, priority='NORMAL')]),
    ],
)
def test_a_value_that_can_be_is_not(tiny_config, key, value):
    check_arguments(changed(tiny_config, key, value))


@pytest.mark.parametrize(
    ('key', 'meant'),
    [
        ('model.neck.out_chanels', 'out_channels'),
        ('model.decoder.interaction.windw_size', 'window_size'),
        ('model.losses.depth.0.varance_focus', 'variance_focus'),
        ('tasks.depth.maxdepth', 'max_depth'),
        ('val_evaluator.metrics.edge.num_treshold', 'num_thresholds'),
        ('optim_wrapper.clip_grad.max_nrom', 'max_norm'),
        ('optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mutl', 'lr_mult'),
        ('env_cfg.mp_cfg.opencv_num_thread', 'opencv_num_threads'),
        ('env_cfg.dist_cfg.bakend', 'backend'),
        ('default_hooks.checkpoint.intervall', 'interval'),
        ('train_dataloader.dataset.pipeline.2.porb', 'prob'),
        ('param_scheduler.0.start_facter', 'start_factor'),
        ('visualizer.vis_backends.0.tpye', 'type'),
        ('data_preprocessor.keepwithin', 'keep_within'),
    ],
)
def test_a_misspelt_key_is_found_wherever_it_stands(tiny_config, key, meant):
    cfg = deepcopy(tiny_config)
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))
    *path, name = key.split('.')
    part = cfg
    for step in path:
        part = part[int(step) if step.isdecimal() else step]
    part[name] = 1
    with pytest.raises(ValueError, match=rf"{key}: .*Did you mean '{meant}'"):
        check_arguments(cfg)


def test_a_misspelt_name_of_a_task_or_a_hook_is_found(tiny_config):
    for key, value, message in (
        ('val_evaluator.metrics', dict(egde=dict(preset='bsds')), "egde: .* mean 'edge'"),
        ('test_dataloader.dataset.tasks', dict(dpeth={}), "dpeth: .* mean 'depth'"),
        ('default_hooks', dict(gaurd=dict(type='NonFiniteGuardHook')), 'gaurd and guard are two'),
        ('model.backbone.type', 'DINOv22', r"model\.backbone\.type: .*mean 'DINOv2'"),
    ):
        with pytest.raises(ValueError, match=message):
            check_arguments(changed(tiny_config, key, value))
    with pytest.raises(FileNotFoundError, match="Did you mean 'm2h_tiny_rooms'"):
        find_config('m2h_tiny_romms')
    with pytest.raises(FileNotFoundError, match="Did you mean 'decoders_tiny_rooms'"):
        find_sweep('decoders_tiny_roms')
    with pytest.raises(ValueError, match=r"backbone\.type: .*Did you mean 'DINOv2'"):
        MODELS.build(dict(tiny_config.model, backbone=dict(type='DINOv22')))


def test_a_name_of_parameters_that_there_are_not_is_said(tiny_config, monkeypatch):
    said = []
    monkeypatch.setattr(
        'm2h_mm.engine.config_check.print_log', lambda message, **_: said.append(message)
    )
    model = nn.ModuleDict(dict(backbone=nn.Linear(1, 1)))
    keys = {'backbone': dict(lr_mult=0.1), 'backbon.': dict(lr_mult=0.1)}
    warn_of_unused_names(
        changed(tiny_config, 'optim_wrapper.paramwise_cfg', dict(custom_keys=keys)), model
    )
    assert len(said) == 1 and 'custom_keys.backbon.: ' in said[0] and "'backbone'" in said[0]


def test_a_misspelt_key_of_a_member_of_a_mixture_is_found():
    cfg = deepcopy(load_config('m2h_tiny_rooms_mixed'))
    check_arguments(cfg)
    cfg.val_evaluator.datasets.rooms.metric = dict()
    with pytest.raises(ValueError, match=r"datasets\.rooms\.metric: .*mean 'metrics'"):
        check_arguments(cfg)


def test_twins_in_a_part_of_another_package_are_said(monkeypatch):
    """Such as a key misspelt in a child config, which stands beside that of its parent."""
    said = []
    monkeypatch.setattr(
        'm2h_mm.engine.config_check.print_log', lambda message, **_: said.append(message)
    )
    cfg = deepcopy(load_config('mti_net_hrnet18_nyud'))
    warn_of_unused_names(cfg, nn.Linear(1, 1))
    assert said == []
    cfg.model.backbone.extra.stage2.num_bloks = (3, 3)
    warn_of_unused_names(cfg, nn.Linear(1, 1))
    assert len(said) == 1
    assert 'model.backbone.extra.stage2: num_blocks and num_bloks stand side by side' in said[0]


def test_configs_of_data_sets_are_in_order():
    for path in BASE_DATASETS.glob('*.py'):
        check_arguments(read_config(path))
