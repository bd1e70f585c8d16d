"""A training goes on from its own checkpoints, and from nothing else."""

import copy
import re

import pytest
import torch
from number_training import checkpoints, make, train

from m2h_mm.engine import installed
from m2h_mm.engine.training_state import find_malformed
from m2h_mm.structures.checkpoint_file import read_checkpoint

ADAMW = dict(type='AdamW', lr=0.1, fused=True)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A training of four iterations with each of two optimizers, and what it has written."""
    runs = {}
    with installed():
        for name, optimizer in (('sgd', None), ('adamw', ADAMW)):
            folder = tmp_path_factory.mktemp(name)
            runner = train(folder, iters=4, validate=2, optimizer=optimizer)
            runs[name] = runner, read_checkpoint(folder / 'iter_4.pth')
    return runs


@pytest.fixture
def written(runs):
    """What they have written, to be changed."""
    return {name: copy.deepcopy(content) for name, (_, content) in runs.items()}


def put(*keys, value):
    """A change of a checkpoint: ``value`` at that place."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def resume(folder, content, **options):
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / 'iter_4.pth')
    runner = make(folder, **{'iters': 6, 'optimizer': ADAMW, **options}, resume=True)
    runner.train()
    return runner


INFO = ('message_hub', 'runtime_info')


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (put('meta', 'iter', value=-5), 'iter to be a number from 0, got -5'),
        (put('meta', 'iter', value='4'), "iter to be a number from 0, got '4'"),
        (put('meta', 'iter', value=4.0), 'iter to be'),
        (put('meta', 'epoch', value=None), 'epoch to be'),
        (put('meta', 'iter', value=2**60), 'iter to be'),
        (put('meta', 'seed', value='x'), "seed to be a number from 0 to 4294967295, got 'x'"),
        (put('meta', value=[]), 'its meta'),
        (put('state_dict', value=[1]), 'state_dict to be a dict of tensors, got one list'),
        (put('state_dict', 'layer.bias', value=3), 'state_dict to be a dict of tensors'),
        (put('ema_state_dict', value={'a': 1}), 'ema_state_dict to be'),
        (put('state_dict', 'weighting.count', value=torch.tensor(-1)), 'counts from 0'),
        (put('state_dict', 'weighting.means', value=torch.tensor([1, float('nan')])), 'finite'),
        (put('state_dict', 'layer.bias', value=torch.ones(4).to_sparse()), 'dict of tensors'),
        (put('message_hub', 'resumed_keys', 'eta', value='x'), 'resumed_keys to be true or false'),
        (put('message_hub', value={}), 'dicts log_scalars, runtime_info, resumed_keys'),
        (put(*INFO, 'keep_ckpt_ids', value=['../../x']), 'keep_ckpt_ids to be a list of numbers'),
        (put(*INFO, 'keep_ckpt_ids', value=2), 'keep_ckpt_ids to be'),
        (put(*INFO, 'outdated_ckpts', value='x'), 'outdated_ckpts to be a list of paths'),
        (put(*INFO, 'outdated_ckpts', value=['a\0b']), 'outdated_ckpts to be a list of paths'),
        (put(*INFO, 'best_score', value='high'), 'best_score to be a number'),
        (put(*INFO, 'best_ckpt', value=[1]), 'best_ckpt to be a path'),
        (put(*INFO, 'validated_iter', value=-1), 'validated_iter to be a number from 0'),
        (
            put('message_hub', 'log_scalars', 'train/loss', value=dict(values=3)),
            "the curve 'train/loss'",
        ),
        (put('optimizer', value={}), 'a dict with state and param_groups'),
        (put('optimizer', value=None), 'a dict with state and param_groups'),
        (put('optimizer', value=[]), 'a dict with state and param_groups'),
        (put('optimizer', 'param_groups', value=3), 'param_groups to be a list'),
        (put('optimizer', 'state', 0, value=3), 'a dict for the state of each parameter'),
        (put('param_schedulers', value=3), 'its param_schedulers'),
        (put('random_state', value=5), 'its random state'),
        (put('random_state', 'cpu', value=torch.zeros(3, dtype=torch.uint8)), 'bytes, 5056 of'),
        (put('random_state', 'cpu', value=torch.zeros(5056)), 'rows of bytes'),
    ],
)
def test_what_no_training_writes_is_named(written, change, reason):
    content = written['adamw']
    assert find_malformed(content) is None
    change(content)
    assert reason in find_malformed(content)


def test_a_malformed_one_is_skipped_and_refused_by_name(tmp_path, written):
    content = written['adamw']
    content['meta']['iter'] = -5
    with pytest.raises(ValueError, match='(?s)any checkpoint.*iter_4.pth: its meta cannot be'):
        resume(tmp_path, content)
    content['meta']['iter'] = 4
    torch.save(content, tmp_path / 'iter_2.pth')
    (tmp_path / 'iter_4.pth').touch()
    runner = make(tmp_path, iters=6, optimizer=ADAMW, resume=True)
    runner.train()
    assert runner.iter == 6


def each_state(change):
    def apply(content):
        for state in content['optimizer']['state'].values():
            change(state)

    return apply


def every(*names, value):
    return each_state(lambda state: state.update(dict.fromkeys(names, value)))


GROUP = ('optimizer', 'param_groups', 0)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (every('exp_avg', 'exp_avg_sq', value=torch.zeros(1)), r'exp_avg \(1,\) for \(4, 4\)'),
        (every('exp_avg', value=torch.zeros(())), r'exp_avg \(\) for'),
        (every('exp_avg', value='x'), 'exp_avg str for'),
        (every('exp_avg', value=torch.zeros(4, 4).to_sparse()), 'exp_avg'),
        (every('step', value=torch.zeros(3)), 'step is no number from 0'),
        (every('step', value=float('nan')), 'step is no number from 0'),
        (each_state(lambda state: state.pop('exp_avg_sq')), 'no exp_avg_sq'),
        (put(*GROUP, 'lr', value='x'), 'group 0: lr cannot be of AdamW'),
        (put(*GROUP, 'lr', value=float('inf')), 'group 0: lr'),
        (put(*GROUP, 'betas', value=(0.9,)), 'group 0: betas'),
        (put(*GROUP, 'fused', value='yes'), 'group 0: fused'),
        (put(*GROUP, 'maximize', value=True), 'group 0: maximize True, the config has False'),
        (put(*GROUP, 'maximize', value=None), 'group 0: maximize None'),
        (put(*GROUP, 'differentiable', value=True), 'group 0: differentiable True'),
        (put(*GROUP, 'params', value=[0]), '1 groups of 1 parameters, the config has 1 of 2'),
        (put('optimizer', 'param_groups', value=[]), '0 groups of 0 parameters'),
        (
            put('state_dict', 'layer.weight', value=torch.zeros(3)),
            r'weights: 1 of another shape \(such as layer.weight \(3,\) for \(4, 4\)\)',
        ),
        (lambda content: content['state_dict'].pop('layer.bias'), 'weights: 1 missing'),
        (put('meta', 'iter', value=10**15), 'it has done 1000000000000000, the config ends at'),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_loaded(tmp_path, written, change, reason):
    content = written['adamw']
    change(content)
    with pytest.raises(
        ValueError, match=f'(?s)iter_4.pth is of another training.*{reason}.*load_from='
    ):
        resume(tmp_path, content)


def test_another_model_or_optimizer_is_refused_with_all_that_differs(tmp_path, written):
    with pytest.raises(ValueError, match='optimizer: AdamW, the config has SGD'):
        resume(tmp_path, written['adamw'], optimizer=dict(type='SGD', lr=0.1))
    with pytest.raises(
        ValueError,
        match=r'(?s)weights: 2 of another shape.*'
        r'optimizer: state of parameter 0: exp_avg \(4, 4\) for \(6, 4\)',
    ):
        resume(tmp_path, written['adamw'], size=6)
    unnamed = written['sgd']  # of an earlier version
    unnamed['meta'].pop('optimizer')
    with pytest.raises(ValueError, match='its groups have no betas, eps: it is no AdamW'):
        resume(tmp_path, unnamed)


@pytest.mark.parametrize('name', ['sgd', 'adamw'])
@pytest.mark.parametrize('unnamed', [False, True])
def test_its_own_goes_on(tmp_path, written, name, unnamed):
    """Also one of an earlier version, and with another rate or length."""
    content = written[name]
    if unnamed:
        content['meta'].pop('optimizer')
        content['message_hub']['runtime_info'].pop('run_id')
    optimizer = dict(ADAMW, lr=0.3) if name == 'adamw' else dict(type='SGD', lr=0.2, momentum=0.9)
    assert resume(tmp_path, content, optimizer=optimizer, iters=9).iter == 9


def test_the_moving_average_is_compared_too(tmp_path):
    options = dict(optimizer=ADAMW, custom_hooks=[dict(type='EMAHook')])
    train(tmp_path, iters=4, **options)
    content = read_checkpoint(tmp_path / 'iter_4.pth')
    content['ema_state_dict']['module.layer.bias'] = torch.zeros(3)
    with pytest.raises(ValueError, match=r'moving average: 1 of another shape .*layer.bias \(3,\)'):
        resume(tmp_path / 'other', content, **options)
    assert train(tmp_path, iters=6, resume=True, **options).iter == 6


SCHEDULES = [dict(type='LinearLR', start_factor=0.1, begin=0, end=2, by_epoch=False)]


def test_schedules_are_compared(tmp_path, written):
    with_schedule = dict(param_scheduler=SCHEDULES, optimizer=ADAMW)
    train(tmp_path, iters=4, **with_schedule)
    content = read_checkpoint(tmp_path / 'iter_4.pth')
    resume(tmp_path, content, **with_schedule)
    with pytest.raises(ValueError, match=r'param_scheduler: 1 of them, the config has 2'):
        resume(tmp_path, content, **{**with_schedule, 'param_scheduler': SCHEDULES * 2})
    other = [dict(type='MultiStepLR', milestones=[2], by_epoch=False)]
    with pytest.raises(
        ValueError, match=r'param_scheduler\[0\]: .* cannot be of the .*MultiStepLR'
    ):
        resume(tmp_path, content, **{**with_schedule, 'param_scheduler': other})
    content['param_schedulers'][0]['base_values'] = ['x']
    with pytest.raises(ValueError, match=r'param_scheduler\[0\]: base_values'):
        resume(tmp_path / 'other', content, **with_schedule)


def test_only_what_this_training_wrote_is_removed(tmp_path, written):
    """A checkpoint may name anything in its folder, and others' checkpoints."""
    folder = tmp_path / 'work'
    (folder / 'notes').mkdir(parents=True)
    torch.save(written['adamw'], folder / 'mine.pth')  # a copy that somebody keeps
    torch.save(written['sgd'], folder / 'iter_1.pth')
    (folder / 'iter_3.pth').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere').touch()
    content = written['adamw']
    content['message_hub']['runtime_info'].update(
        outdated_ckpts=[str(folder / name) for name in ('notes', 'mine.pth', '../elsewhere')],
        best_ckpt=str(folder / 'mine.pth'),
        keep_ckpt_ids=[1, 3],
    )
    resume(folder, content, iters=10, validate=2)
    left = checkpoints(folder)
    assert {'mine.pth', 'iter_1.pth', 'iter_3.pth'} <= set(left) and (folder / 'notes').exists()
    assert [name for name in left if re.match('iter_([46]|8|10)', name)] == [
        'iter_10.pth',
        'iter_4.pth',
        'iter_8.pth',
    ]
    assert (tmp_path / 'elsewhere').exists()
