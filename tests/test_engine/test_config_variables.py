"""Mistakes in a config that would have no effect, or show after hours."""

import pytest

from m2h_mm.engine import build_runner
from m2h_mm.engine.config import CONFIGS, load_config
from m2h_mm.engine.config_check import check_arguments, check_config
from m2h_mm.engine.hooks import CheckpointHook
from m2h_mm.registry import DATASETS

TINY = CONFIGS / 'm2h' / 'm2h_tiny_rooms.py'


@pytest.fixture
def written(tmp_path):
    def write(text, name='mine.py', base=TINY):
        path = tmp_path / name
        path.write_text(f"_base_ = '{base}'\n{text}\n")
        return path

    return write


@pytest.mark.parametrize(
    ('text', 'meant'),
    [
        ('train_cgf = dict(max_iters=3)', 'train_cfg'),
        ('optim_wraper = dict()', 'optim_wrapper'),
        ("_bas_ = 'x.py'", '_base_'),
    ],
)
def test_a_misspelt_key_at_the_top_is_refused(text, meant, written):
    with pytest.raises(ValueError, match=f"mine.py: {text.split()[0]}: .*Did you mean '{meant}'"):
        load_config(written(text))


def test_a_variable_of_the_base_cannot_be_changed_from_outside(written):
    with pytest.raises(ValueError, match=r'mine\.py: max_iters: .* no effect'):
        load_config(written('max_iters = 3'))
    with pytest.raises(ValueError, match=r'--cfg-options max_iters: .* no effect'):
        load_config(TINY, {'max_iters': 3})


@pytest.mark.parametrize(
    ('text', 'meant'),
    [
        ('seed = 5', 'randomness.seed'),
        ('batch_sise = 5', 'batch_size'),
        ('max_itres = 5', 'max_iters'),
    ],
)
def test_a_variable_that_nothing_uses_and_that_is_called_like_a_key_is_refused(
    text, meant, written
):
    with pytest.raises(ValueError, match=rf'mine.py: \w+: nothing uses this .* mean .*{meant}'):
        load_config(written(text))


def test_a_config_that_was_written_with_all_its_variables_can_be_read(tmp_path):
    """As mmengine writes it into the work dir."""
    load_config(TINY).dump(tmp_path / 'dumped.py')
    assert load_config(tmp_path / 'dumped.py').max_iters == load_config(TINY).max_iters


def test_variables_that_are_used_are_fine(written):
    cfg = load_config(written('max_iters = 3\ntrain_cfg = dict(max_iters=max_iters)'))
    assert cfg.train_cfg.max_iters == 3
    # A file may also change a variable for those that inherit from it.
    written('max_iters = 5', name='middle.py')
    text = 'train_cfg = dict(max_iters={{_base_.max_iters}})'
    cfg = load_config(written(text, base='./middle.py'))
    assert cfg.train_cfg.max_iters == 5
    assert load_config(written('my_note = 1')).my_note == 1


def test_options_of_a_part_whose_type_changes_with_them_are_taken():
    options = {'optim_wrapper.type': 'AutocastOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'}
    cfg = load_config(TINY, options)
    assert cfg.optim_wrapper.dtype == 'bfloat16'
    check_arguments(cfg)


def test_options_of_what_takes_any_key_are_taken(written):
    keys = 'optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(lr_mult=2.0))))'
    options = {
        'env_cfg.dist_cfg.init_method': 'file:///somewhere',
        'optim_wrapper.paramwise_cfg.custom_keys.backbone': dict(lr_mult=0.1),
    }
    cfg = load_config(written(keys), options)
    assert cfg.env_cfg.dist_cfg.init_method == 'file:///somewhere'
    assert set(cfg.optim_wrapper.paramwise_cfg.custom_keys) == {'neck', 'backbone'}


def test_a_misspelt_option_is_refused():
    with pytest.raises(ValueError, match="--cfg-options train_cfg.max_itrs.*mean 'max_iters'"):
        load_config(TINY, {'train_cfg.max_itrs': 3})


@pytest.mark.parametrize(
    ('place', 'key'),
    [
        ('model', 'freeze_backbon'),
        ('model.data_preprocessor', 'sise'),
        ('train_dataloader', 'batchsize'),
        ('train_dataloader.dataset', 'num_trian'),
        ('train_dataloader.sampler', 'shufle'),
        ('val_evaluator', 'refrence'),
        ('default_hooks.logger', 'intervall'),
        ('default_hooks', 'chekpoint'),
        ('optim_wrapper.optimizer', 'learning_rate'),
        ('optim_wrapper.paramwise_cfg', 'custom_key'),
        ('train_cfg', 'max_iter'),
        ('randomness', 'sed'),
        ('env_cfg', 'cudnn_bench'),
        ('visualizer', 'vis_backend'),
    ],
)
def test_a_training_does_not_start_with_an_argument_that_does_not_exist(place, key):
    cfg = load_config(TINY)
    cfg.optim_wrapper.paramwise_cfg = dict(custom_keys=dict(backbone=dict(lr_mult=0.1)))
    part = cfg
    for name in place.split('.'):
        part = part[name]
    part[key] = {}
    with pytest.raises(ValueError, match=rf'^{place}.{key}: '):
        build_runner(cfg)


def test_the_arguments_of_an_optimizer_within_another_one_are_its_own():
    cfg = load_config(TINY)
    cfg.optim_wrapper.optimizer = dict(
        type='ZeroRedundancyOptimizer', optimizer_type='AdamW', lr=1e-3
    )
    check_arguments(cfg)


def test_the_check_builds_nothing():
    """A class that cannot be built without its data, or on the meta device, passes."""
    cfg = load_config(TINY)

    @DATASETS.register_module(force=True)
    class NeverBuilt:
        def __init__(self, place):
            raise AssertionError

    cfg.train_dataloader.dataset = dict(type='NeverBuilt', place='here')
    check_arguments(cfg)


def test_a_backbone_that_asks_for_the_values_of_tensors_is_checked_too():
    cfg = load_config('mti_net_tiny_rooms')
    small = dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), window_size=2)
    cfg.model.neck = None
    cfg.model.backbone = dict(type='mmseg.SwinTransformer', **small)
    check_config(cfg)
    cfg.model.backbone.depth = 3
    with pytest.raises(ValueError, match=r"model\.backbone: .*no argument\(s\) \['depth'\]"):
        check_config(cfg)


def test_a_misspelt_argument_of_the_checkpoint_hook_is_refused_when_it_is_built():
    with pytest.raises(ValueError, match=r"no argument\(s\) \['intervall'\].*'interval'"):
        CheckpointHook(intervall=3)


def test_save_best_names_a_metric_that_there_is():
    hook = CheckpointHook(save_best='depth/rmsee', rule='less')
    with pytest.raises(ValueError, match=r"save_best: .*'depth/rmse'.*got \['depth/rmsee'\]"):
        hook._save_best_checkpoint(None, {'depth/rmse': 1.0})
    CheckpointHook(save_best=None)._save_best_checkpoint(None, {'depth/rmse': 1.0})
