"""Losses and gradients that are not finite: no step from them, and a file to see why."""

import copy
import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from m2h_mm.engine.checkpoints import read_checkpoint
from m2h_mm.engine.hooks import nonfinite_guard_hook
from m2h_mm.engine.snapshot import replay
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import MODELS, OPTIM_WRAPPERS

LAST = {
    'optim_wrapper.optimizer.lr': 1e-3,
    'train_cfg.max_iters': 6,
    'train_dataloader.num_workers': 0,
}


@MODELS.register_module()
class Poisoned(nn.Module):
    """An L1 loss that is not what it should be in some calls.

    ``kind``: 'loss' is NaN, so is its gradient; 'constant' is NaN with a finite gradient;
    'gradient' is finite, its gradient is not.
    """

    def __init__(self, at=(), kind='loss'):
        super().__init__()
        self.calls, self.at, self.kind = 0, set(at), kind

    def forward(self, pred, target, valid):
        self.calls += 1
        loss = ((pred - target).abs() * valid).sum() / valid.sum().clamp(min=1)
        if self.calls not in self.at:
            return loss
        return dict(
            loss=loss * math.nan,
            constant=loss + math.nan,
            gradient=(loss - loss.detach()).abs().sqrt() + loss.detach(),
        )[self.kind]


@OPTIM_WRAPPERS.register_module()
class ScaledOnCPU(AmpOptimWrapper):
    """Dynamic loss scaling without a GPU."""

    def __init__(self, init_scale, **kwargs):
        OptimWrapper.__init__(self, **kwargs)
        self._scale_update_param, self.cast_dtype = None, torch.bfloat16
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=init_scale)


class Watcher(Hook):
    """Weights before every step, and what is logged."""

    priority = 'LOWEST'

    def __init__(self):
        self.weights, self.logged = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.weights.append(copy.deepcopy(runner.model.state_dict()))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logged.append(dict(outputs))


def poison(at, kind='loss', **guard):
    return {
        'model.losses.depth': dict(_delete_=True, type='Poisoned', at=list(at), kind=kind),
        **{f'default_hooks.guard.{key}': value for key, value in guard.items()},
        **LAST,
    }


@pytest.fixture
def guarded(toy_runner):
    def run(options, fails=None):
        runner, watcher = toy_runner(options), Watcher()
        runner.register_hook(watcher)
        if fails is None:
            runner.train()
        else:
            with pytest.raises(ValueError, match=fails) as raised:
                runner.train()
            runner.said = str(raised.value)
        return runner, watcher

    return run


def same(one, two):
    return all(torch.equal(value, two[key]) for key, value in one.items())


@pytest.mark.parametrize(
    ('kind', 'what'),
    [
        ('loss', 'Iteration 3: the loss is not finite: loss_depth, raw_depth'),
        ('constant', 'Iteration 3: the loss is not finite: loss_depth, raw_depth'),
        (
            'gradient',
            'Iteration 3: the losses are finite, but the gradient of .* parameters is not',
        ),
    ],
)
def test_it_stops_names_the_task_and_frames_and_leaves_the_weights_alone(guarded, kind, what):
    runner, watcher = guarded(poison([3], kind), fails=what)
    assert re.search(r'tasks: depth\n', runner.said)
    batch = [line for line in runner.said.splitlines() if 'images' in line]
    assert len(batch) == runner.train_dataloader.batch_size and all(
        '.png)' in line for line in batch
    )
    assert same(watcher.weights[-1], runner.model.state_dict()) and len(watcher.weights) == 3
    assert not same(watcher.weights[1], watcher.weights[2])


@pytest.mark.parametrize('action', ['stop', 'skip'])
def test_a_full_disk_hides_no_finding(guarded, monkeypatch, capsys, action):
    said = []

    def write(path, content):
        said.append(capsys.readouterr().out)
        raise OSError(28, f'{path} could not be written: No space left on device')

    monkeypatch.setattr(nonfinite_guard_hook, 'write_snapshot', write)
    fails = 'images' if action == 'stop' else None
    runner, watcher = guarded(poison([2], action=action), fails=fails)
    assert 'Iteration 2: the loss is not finite: loss_depth' in said[0] and '.png)' in said[0]
    after = runner.said if action == 'stop' else capsys.readouterr().out
    assert 'There is no snapshot of this step' in after and 'No space left' in after
    assert len(watcher.weights) == (2 if action == 'stop' else 6)


def test_a_skipped_step_leaves_no_trace(guarded):
    """As if its batch had never been drawn, but for the sampler: with a data set of one batch, as
    one step less.
    """
    one = {
        'train_dataloader.sampler.shuffle': False,
        'train_dataloader.dataset.indices': 2,
        'train_dataloader.batch_size': 2,
        'model.weighting': dict(_delete_=True, type='RandomLossWeighting'),
        'train_dataloader.dataset.pipeline': [
            dict(type='LoadMultiTaskImage'),
            dict(type='LoadMultiTaskLabels'),
            dict(type='PackMultiTaskInputs'),
        ],
    }
    skipped, watcher = guarded({**poison([2, 5], action='skip'), **one})
    clean, _ = guarded({**poison([]), **one, 'train_cfg.max_iters': 4})
    assert same(skipped.model.state_dict(), clean.model.state_dict())
    assert [bool(logged) for logged in watcher.logged] == [True, False, True, True, False, True]
    curve = skipped.message_hub.get_scalar('train/loss').data[0]
    assert len(curve) == 4 and all(map(math.isfinite, curve))
    assert len(list(Path(skipped.work_dir).glob('nonfinite_iter_*.pt'))) == 2


def test_running_statistics_are_those_before(guarded):
    """NaN in a feature map would stay in them for ever."""
    _, watcher = guarded(poison([2], action='skip'))
    statistics = [key for key in watcher.weights[0] if 'running_' in key]
    assert statistics, 'the toy model has no BatchNorm'
    assert all(torch.equal(watcher.weights[1][key], watcher.weights[2][key]) for key in statistics)
    assert not all(
        torch.equal(watcher.weights[2][key], watcher.weights[3][key]) for key in statistics
    )


def test_too_many_in_a_row_stop_it_all_the_same(guarded):
    runner, watcher = guarded(
        poison([1, 3, 4, 5], action='skip', max_skips=2, max_snapshots=2), fails='Iteration 5'
    )
    assert 'step 3 in a row, and at most 2 may be skipped' in runner.said
    assert [path.name for path in sorted(Path(runner.work_dir).glob('*.pt'))] == [
        'nonfinite_iter_1.pt',
        'nonfinite_iter_3.pt',
    ]


@pytest.mark.parametrize('bad', [3, 4])
def test_accumulated_gradients_are_kept_or_dropped_together(guarded, bad):
    options = {**poison([bad], action='skip'), 'optim_wrapper.accumulative_counts': 2}
    runner, watcher = guarded(options)
    # Steps are taken after iterations 2, 4 and 6: weights before iteration 5 are those before 3.
    parameters = dict(runner.model.named_parameters())
    before = [{key: weights[key] for key in parameters} for weights in watcher.weights]
    assert (
        not same(before[1], before[2])
        and same(before[2], before[4])
        and not same(before[4], parameters)
    )
    snapshot = read_checkpoint(Path(runner.work_dir, 'nonfinite_iter_4.pt'))
    assert [math.isfinite(losses['raw_depth']) for losses in snapshot['losses']] == [
        bad != 3,
        bad != 4,
    ]


def test_overflow_under_loss_scaling_is_the_scalers_business(guarded):
    scaled = {'optim_wrapper.type': 'ScaledOnCPU', 'optim_wrapper.init_scale': 2.0**127}
    overflowing = guarded({**poison([]), **scaled, 'train_cfg.max_iters': 20})[0]
    assert overflowing.optim_wrapper.loss_scaler.get_scale() < 2.0**126
    assert not list(Path(overflowing.work_dir).glob('*.pt'))
    guarded(
        {**poison([], max_skips=2), **scaled},
        fails='overflows however small the scale|gradient of .* parameters',
    )
    # A loss that is not finite is not.
    guarded(
        {**poison([2]), **scaled, 'optim_wrapper.init_scale': 1.0},
        fails='Iteration 2: the loss is not finite',
    )


def test_the_step_can_be_taken_again(guarded):
    """In another model, from tensors alone: the same losses to the last bit, random weights and
    dropout included.
    """
    options = {
        **poison([3], 'gradient'),
        'model.weighting': dict(_delete_=True, type='RandomLossWeighting'),
        'model.backbone.drop_path_rate': 0.5,
    }
    runner, _ = guarded(options, fails='Iteration 3')
    path = Path(runner.work_dir, 'nonfinite_iter_3.pt')
    snapshot = read_checkpoint(path)
    assert snapshot['optimizer']['state'] and snapshot['iteration'] == 3
    torch.manual_seed(99)
    model = optimize(MODELS.build(runner.cfg.model), training=True)
    model.losses['depth'][0].at = {1}
    found = replay(model, snapshot, lambda: runner.optim_wrapper.optim_context(model))
    assert found.losses == snapshot['losses']
    assert found.module is None and any(name.startswith('heads.depth') for name in found.parameters)
    with pytest.raises(ValueError, match='Expected a snapshot'):
        replay(model, dict(state_dict={}), lambda: runner.optim_wrapper.optim_context(model))


def test_the_replay_finds_the_module_the_parameters_and_the_frame(guarded):
    runner, _ = guarded(poison([1]), fails='Iteration 1')
    snapshot = read_checkpoint(Path(runner.work_dir, 'nonfinite_iter_1.pt'))
    model = MODELS.build(runner.cfg.model)
    model.losses['depth'][0].at = set()
    context = lambda: runner.optim_wrapper.optim_context(model)  # noqa: E731
    healthy = replay(model, snapshot, context)
    assert healthy.module is None and not healthy.parameters and not any(map(any, healthy.frames))
    frame = snapshot['steps'][0]['batch']['inputs'][1]
    snapshot['steps'][0]['batch']['inputs'][1] = torch.full_like(
        frame, math.nan, dtype=torch.float32
    )
    broken = replay(model, snapshot, context)
    assert broken.module.startswith(('data_preprocessor', 'backbone.'))
    assert not broken.frames[0][0] and 'raw_semseg' in broken.frames[0][1]


def test_the_command_of_the_message(guarded, run, tmp_path):
    runner, _ = guarded(
        {**poison([2]), 'model.losses.depth': dict(_delete_=True, type='L1Loss', loss_weight=1e39)},
        fails='Iteration 1',
    )
    command = re.search(r'm2h-mm (replay-step) (\S+) (\S+)', runner.said)
    runner.cfg.dump(tmp_path / 'config.py')
    options = ('--cfg-options', 'model.losses.depth.loss_weight=1.0')
    said = run(command[1], tmp_path / 'config.py', command[3], *options, status=1)
    assert re.search(r'raw_depth *│ *inf *│ *[\d.]+ ', said) and 'The step is finite now.' in said


def test_wrong_arguments(guarded):
    with pytest.raises(ValueError, match='default_hooks.guard'):
        guarded(poison([], action='ignore'))
