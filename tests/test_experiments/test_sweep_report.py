import csv
import io
import json
import math
from pathlib import Path

import pytest
import scipy.stats
from mmengine.config import Config

from m2h_mm.experiments.sweep import SINGLE_TASK, Sweep
from m2h_mm.experiments.sweep_plot import plot_gain
from m2h_mm.experiments.sweep_report import summarise_sweep
from m2h_mm.experiments.sweep_statistics import compare, paired_difference
from m2h_mm.experiments.sweep_tables import to_csv, to_markdown, write_tables
from m2h_mm.system import write_atomically

TASKS = ('semseg', 'depth')
METRICS = dict(semseg='semseg/mIoU', depth='depth/rmse')
# By variant, seed by seed.
VALUES = {
    'wmca': dict(semseg=[44.0, 46.0], depth=[0.50, 0.52]),
    'better': dict(semseg=[54.0, 56.0], depth=[0.51, 0.51]),
    'same': dict(semseg=[43.0, 46.0], depth=[0.90, 0.92]),
    SINGLE_TASK: dict(semseg=[40.0, 40.0], depth=[0.60, 0.60]),
}
COSTS = dict(
    device='cpu (test)',
    threads=1,
    repeats=5,
    rows={
        name: dict(
            parameters=1e6 * rank,
            macs=2e9 * rank,
            latency=0.01 * rank,
            memory=2**20 * rank,
            size=[56, 84],
        )
        for rank, name in enumerate(VALUES, start=1)
    },
)


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    cfg = Config(dict(tasks=dict(semseg=dict(num_classes=40), depth=dict())))
    single = {task: Config(dict(tasks={task: {}})) for task in TASKS}
    return Sweep(
        'toy', tmp_path, {name: cfg for name in VALUES if name != SINGLE_TASK}, single, (0, 1)
    )


def finish(sweep: Sweep, skip=()) -> None:
    for run in sweep.runs:
        if run.name in skip:
            continue
        write_atomically(run.config, run.cfg.pretty_text)
        metrics = {METRICS[task]: VALUES[run.variant][task][run.seed] for task in run.cfg.tasks}
        write_atomically(run.results, json.dumps(dict(metrics=metrics)))


def table(summary) -> dict[str, list[str]]:
    lines = [
        line.strip('| ').split(' | ')
        for line in to_markdown(summary).split('## ')[0].splitlines()
        if line.startswith('|')
    ]
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}


def test_means_spreads_and_gains_are_those_of_the_definition(sweep):
    finish(sweep)
    summary = summarise_sweep(sweep, COSTS)
    cells = summary['rows']['wmca']['cells']
    assert cells['semseg/mIoU']['mean'] == 45.0
    assert cells['semseg/mIoU']['std'] == pytest.approx(math.sqrt(2))
    # (44 / 40 - 1 + 1 - 0.50 / 0.60) / 2 and the same for the other seed
    gains = [50 * (44 / 40 - 0.50 / 0.60), 50 * (46 / 40 - 0.52 / 0.60)]
    assert cells['delta_m']['values'] == pytest.approx(gains)
    assert summary['rows'][SINGLE_TASK]['cells']['delta_m']['mean'] == pytest.approx(0)
    assert summary['missing'] == {}


def test_only_differences_beyond_the_spread_count(sweep):
    finish(sweep)
    rows = table(summarise_sweep(sweep, COSTS))
    semseg, depth = 'semseg/mIoU ↑', 'depth/rmse ↓'
    assert rows['better'][semseg] == '**55.00 ± 1.41**'
    assert rows['same'][semseg] == '44.50 ± 2.12 ≈'
    assert rows['wmca'][semseg] == '45.00 ± 1.41'
    assert (
        rows['better'][depth].endswith('≈')
        and '**' not in rows['better'][depth] + rows['wmca'][depth]
    )
    assert not rows['same'][depth].endswith('≈')
    assert rows['single task']['parameters (M)'] == '4' and rows['wmca']['latency (ms)'] == '10'


def test_one_seed_says_nothing_and_the_table_says_so(sweep):
    finish(sweep, skip=[run.name for run in sweep.runs if run.seed == 1])
    summary = summarise_sweep(sweep, COSTS)
    text = to_markdown(summary)
    assert '≈' not in text and '**5' not in text and '±' not in text
    assert 'Of one seed there is no spread' in text
    assert 'Incomplete' in text and 'wmca/seed1 (new)' in text
    assert (
        table(summary)['better']['semseg/mIoU ↑'] == '54.00'
        and table(summary)['better']['seeds'] == '1/2'
    )


def test_what_is_missing_leaves_the_rest(sweep):
    finish(
        sweep,
        skip=['single_task/depth/seed0', 'single_task/depth/seed1', 'better/seed0', 'better/seed1'],
    )
    summary = summarise_sweep(sweep, COSTS)
    rows = table(summary)
    assert rows['better']['semseg/mIoU ↑'] == '–' and rows['better']['seeds'] == '0/2'
    assert rows['single task']['semseg/mIoU ↑'].startswith('40.00')
    assert {row['Δm (%) ↑'] for row in rows.values()} == {'–'}
    assert 'There is no Δm (%) yet' in to_markdown(summary)
    assert list(summary['missing']) == [
        'better/seed0',
        'single_task/depth/seed0',
        'better/seed1',
        'single_task/depth/seed1',
    ]


def test_results_of_another_spec_are_not_in_the_table(sweep):
    finish(sweep)
    run = sweep.runs[0]
    write_atomically(run.config, run.cfg.pretty_text.replace('num_classes=40', 'num_classes=13'))
    summary = summarise_sweep(sweep, COSTS)
    assert summary['missing'] == {'wmca/seed0': 'changed'}
    assert summary['rows']['wmca']['seeds'] == [1]


def test_a_metric_that_is_not_a_number_is_missing(sweep):
    finish(sweep)
    run = sweep.runs[0]
    run.results.write_text(json.dumps(dict(metrics={'semseg/mIoU': None, 'depth/rmse': 0.5})))
    cells = summarise_sweep(sweep, COSTS)['rows']['wmca']['cells']
    assert cells['semseg/mIoU']['values'] == [46.0] and len(cells['delta_m']['values']) == 1


def test_without_single_task_models_there_is_no_gain(sweep, tmp_path):
    bare = Sweep('toy', tmp_path, sweep.variants, {}, (0, 1))
    finish(bare)
    summary = summarise_sweep(bare, COSTS)
    assert 'delta_m' not in summary['columns'] and 'Δm' not in to_markdown(summary)
    assert not plot_gain(tmp_path / 'plot.png', summary) and not (tmp_path / 'plot.png').exists()


def test_the_files_hold_the_same_numbers(sweep, tmp_path):
    finish(sweep)
    summary = summarise_sweep(sweep, COSTS)
    path = write_tables(tmp_path, summary)
    assert path.read_text() == to_markdown(summary)
    stored = json.loads((tmp_path / 'table.json').read_text())
    for line in csv.DictReader(io.StringIO(to_csv(summary))):
        cell = stored['rows'][line['variant']]['cells']['semseg/mIoU']
        assert (
            float(line['semseg/mIoU_mean']) == cell['mean']
            and float(line['semseg/mIoU_std']) == cell['std']
        )
        assert line['semseg/mIoU_best'] == str(line['variant'] == 'better')
    assert plot_gain(tmp_path / 'plot.png', summary)
    assert Path(tmp_path / 'plot.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('higher', [True, False])
def test_the_best_is_told_apart_from_every_other(higher):
    sign = 1 if higher else -1
    a, b = {0: 1.0 * sign, 1: 1.2 * sign}, {0: 3.0 * sign, 1: 3.3 * sign}
    cells = compare(dict(a=a, b=b, c={0: 9.0 * sign}), higher)
    assert not any(cell['best'] for cell in cells.values()), (
        'c has one seed, so that nothing is known to be the best'
    )
    cells = compare(dict(a=a, b=b, c={}), higher)
    assert [name for name, cell in cells.items() if cell['best']] == ['b']
    assert cells['b']['like_reference'] is False and cells['c']['like_reference'] is None


def test_a_paired_difference_is_that_of_the_t_test():
    a, b = {0: 1.0, 1: 2.0, 2: 4.0, 7: 9.0}, {0: 0.5, 1: 1.0, 2: 3.5, 8: 0.0}
    difference, interval = paired_difference(a, b)
    expected = scipy.stats.ttest_rel([1.0, 2.0, 4.0], [0.5, 1.0, 3.5]).confidence_interval(0.95)
    assert (difference - interval, difference + interval) == pytest.approx(tuple(expected))
    assert paired_difference({0: 1.0}, {0: 2.0}) is None


def test_runs_of_a_seed_are_compared_with_each_other(sweep):
    finish(sweep)
    text = to_markdown(summarise_sweep(sweep, COSTS)).split('## ')[1]
    assert text.startswith('Differences from wmca')
    # 0.90 - 0.50 and 0.92 - 0.52: no spread is left, though each varies.
    assert '| same | -0.50 ± 6.35 | **+0.4000 ± 0.0000** |' in text
