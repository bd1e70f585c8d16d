import json

import pytest
from mmengine.config import Config

from m2h_mm.experiments import sweep_curves
from m2h_mm.experiments.sweep import SINGLE_TASK, Sweep, load_sweep
from m2h_mm.experiments.sweep_report import summarise_sweep
from m2h_mm.experiments.sweep_tables import to_markdown
from m2h_mm.experiments.sweep_tuning import Tuning, choose
from m2h_mm.system import write_atomically

KEY = 'optim_wrapper.optimizer.lr'
# Validation (mIoU, rmse) by rate. The middle one is best in both, the last in segmentation only.
VALIDATED = {0.1: (20.0, 0.8), 0.2: (40.0, 0.5), 0.4: (42.0, 0.9)}
COSTS = dict(parameters=1e6, macs=1e9, latency=None, memory=None, size=[56, 84])


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    cfg = Config(
        dict(
            tasks=dict(semseg=dict(num_classes=40), depth=dict()),
            optim_wrapper=dict(optimizer=dict(lr=0.2)),
        )
    )
    return Sweep('toy', tmp_path, dict(a=cfg, b=cfg), {}, (5, 6), Tuning(KEY, tuple(VALIDATED)))


def finish(run, semseg: float, rmse: float, tested: float = 30.0) -> None:
    """Write what a training, its last validation and its test leave."""
    write_atomically(run.config, run.cfg.pretty_text)
    log = run.training / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    early = {'semseg/mIoU': 90.0, 'depth/rmse': 0.1, 'step': 1}
    late = {'semseg/mIoU': semseg, 'depth/rmse': rmse, 'step': 2}
    log.write_text(f'{json.dumps(early)}\n{json.dumps(late)}\n')
    metrics = {'semseg/mIoU': tested, 'depth/rmse': 0.5}
    write_atomically(run.results, json.dumps(dict(metrics=metrics)))


def finish_trials(sweep: Sweep, variant: str, validated=VALIDATED) -> None:
    for run in sweep.runs:
        if run.variant == variant and run.seed == 5:
            rate = run.cfg.optim_wrapper.optimizer.lr
            finish(run, *validated[rate], tested=100 * rate)


def test_further_seeds_wait_for_the_choice_and_take_its_value(sweep):
    trials = [f'{name}/lr_{rate}/seed5' for name in 'ab' for rate in VALIDATED]
    assert [run.name for run in sweep.runs] == trials and sweep.compared == []
    finish_trials(sweep, 'a')
    assert [run.name for run in sweep.runs] == [*trials, 'a/lr_0.2/seed6']
    assert sweep.runs[-1].cfg.optim_wrapper.optimizer.lr == 0.2
    assert sweep.runs[-1].cfg.randomness.seed == 6
    assert [run.name for run in sweep.compared] == ['a/lr_0.2/seed5', 'a/lr_0.2/seed6']
    finish_trials(sweep, 'b')
    assert [run.name for run in sweep.runs][len(trials) :] == ['a/lr_0.2/seed6', 'b/lr_0.2/seed6']


def test_the_table_is_of_the_chosen_values_and_says_them(sweep):
    finish_trials(sweep, 'a')
    finish_trials(sweep, 'b', {**VALIDATED, 0.4: (50.0, 0.4)})
    costs = dict(device='cpu', threads=1, repeats=0, rows=dict(a=COSTS, b=COSTS))
    summary = summarise_sweep(sweep, costs)
    means = {name: row['cells']['semseg/mIoU']['mean'] for name, row in summary['rows'].items()}
    assert means == dict(a=20.0, b=40.0), 'tests of the rates that the validations chose'
    assert summary['missing'] == {'a/lr_0.2/seed6': 'new', 'b/lr_0.4/seed6': 'new'}
    assert 'other frames than those of the test: a lr_0.2, b lr_0.4.' in to_markdown(summary)


def test_a_table_before_the_choice_says_that_seeds_wait(sweep):
    costs = dict(device='cpu', threads=1, repeats=0, rows=dict(a=COSTS, b=COSTS))
    assert (
        summarise_sweep(sweep, costs)['missing']['further seeds'] == f'wait for the choice of {KEY}'
    )


def test_a_value_that_diverged_is_not_chosen(sweep):
    finish_trials(sweep, 'a', {**VALIDATED, 0.2: (float('nan'), 0.5)})
    best = choose(sweep.trials(*sweep.models[0]))
    assert best.name == 'a/lr_0.4/seed5'
    nothing = dict.fromkeys(VALIDATED, (float('nan'), 0.5))
    finish_trials(sweep, 'b', nothing)
    with pytest.raises(ValueError, match='b: no value is left to choose'):
        choose(sweep.trials(*sweep.models[1]))


@pytest.mark.parametrize(
    ('tune', 'options', 'message'),
    [
        (dict(key=KEY, values=[0.1, 0.2]), {}, 'Expected two different data sets'),
        (dict(key=KEY, values=[0.1]), {}, 'at least two different values'),
        (dict(key=KEY, values=[0.1, 'a/b']), {}, 'names a folder'),
        (dict(values=[0.1, 0.2]), {}, "tune: expected dict\\(key='optim"),
        (
            dict(key='optim_wrapper.optimizer.rl', values=[0.1, 0.2]),
            {'val_dataloader.dataset.seed': 1},
            "AdamW has no argument 'rl'",
        ),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(tmp_path, request, tune, options, message):
    base = request.config.rootpath / 'configs/baselines/mtl_tiny_rooms.py'
    path = tmp_path / 'spec.py'
    path.write_text(f'base = {str(base)!r}\nvariants = dict(a={{}})\ntune = {tune}\n{options=}\n')
    with pytest.raises(ValueError, match=message):
        load_sweep(path, tmp_path / 'out')


def test_single_task_models_choose_for_themselves(sweep, tmp_path):
    single = {
        task: Config({**sweep.variants['a']._cfg_dict, 'tasks': {task: {}}})
        for task in ('semseg', 'depth')
    }
    sweep = Sweep('toy', tmp_path, {}, single, (5, 6), sweep.tuning)
    for run in sweep.runs:
        finish(run, *VALIDATED[run.cfg.optim_wrapper.optimizer.lr])
    chosen = {(run.variant, run.task, run.setting) for run in sweep.compared}
    assert chosen == {(SINGLE_TASK, 'semseg', 'lr_0.4'), (SINGLE_TASK, 'depth', 'lr_0.2')}


def test_the_curves_of_the_chosen_runs_are_drawn(sweep, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        sweep_curves, 'draw_group', lambda lines, keys, path: drawn.update(lines=lines, keys=keys)
    )
    assert not sweep_curves.plot_curves(tmp_path / 'curves.png', sweep)
    finish_trials(sweep, 'a')
    finish(sweep.runs[-1], 50.0, 0.7)
    assert sweep_curves.plot_curves(tmp_path / 'curves.png', sweep)
    curve = drawn['lines']['a']['semseg/mIoU']
    assert drawn['keys'] == ['semseg/mIoU', 'depth/rmse'] and list(drawn['lines']) == ['a']
    assert (curve.iterations, curve.values) == ((1, 2), (90.0, 45.0)), 'the mean of both seeds'
