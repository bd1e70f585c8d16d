"""Results of a sweep: what its runs measured, and their multi-task gains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from m2h_mm.evaluation.gain import multi_task_gain
from m2h_mm.experiments.sweep import Run, Sweep
from m2h_mm.experiments.sweep_spec import SINGLE_TASK
from m2h_mm.experiments.sweep_states import FINISHED, state
from m2h_mm.experiments.sweep_statistics import compare
from m2h_mm.system.text import read_json
from m2h_mm.tasks import Task

GAIN = 'delta_m'
# By variant and seed, each task's headline metric.
Measured = Mapping[str, Mapping[int, Mapping[str, float]]]


def summarise_sweep(sweep: Sweep, costs: Mapping[str, Any]) -> dict[str, Any]:
    """All that the tables of a sweep show, from the runs that are finished.

    Args:
        costs: see :func:`~m2h_mm.experiments.sweep_costs.measure_costs`.

    Returns:
        ``name``; ``reference``, the first variant; ``columns``, name to ``higher_is_better`` of
        each task's headline metric and of ``delta_m``; ``rows``, by variant (the single-task models
        are the last one) ``seeds`` (which are finished), ``cells`` (see
        :func:`~m2h_mm.experiments.sweep_statistics.compare`), ``setting`` (what a tuned sweep has
        chosen, by name of the model) and ``costs``; ``missing``, name to state of the runs that are
        not finished; ``num_seeds``; ``costs``, how they were measured.
    """
    tasks = sweep.tasks
    compared = sweep.compared
    measured, missing = _collect(sweep, compared, tasks)
    columns = {f'{name}/{task.metric}': task.higher_is_better for name, task in tasks.items()}
    values = {
        row: {
            f'{name}/{task.metric}': {
                seed: found[name] for seed, found in seeds.items() if name in found
            }
            for name, task in tasks.items()
        }
        for row, seeds in measured.items()
    }
    if sweep.single_task:
        columns[GAIN] = True
        for row, gains in _gains(measured, sweep, tasks).items():
            values[row][GAIN] = gains
    cells = {
        column: compare({row: values[row][column] for row in values}, better)
        for column, better in columns.items()
    }
    settings: dict[str, dict[str, str]] = {}
    for run in compared:
        if run.setting is not None:
            settings.setdefault(run.variant, {})[run.task or run.variant] = run.setting
    rows = {
        row: dict(
            seeds=[seed for seed in seeds if seeds[seed]],
            cells={column: cells[column][row] for column in columns},
            setting=settings.get(row, {}),
            costs=costs['rows'][row],
        )
        for row, seeds in measured.items()
    }
    return dict(
        name=sweep.name,
        reference=next(iter(sweep.variants)),
        columns=columns,
        rows=rows,
        missing=missing,
        num_seeds=len(sweep.seeds),
        costs={key: costs[key] for key in ('device', 'threads', 'repeats')},
    )


def _collect(
    sweep: Sweep, compared: Sequence[Run], tasks: Mapping[str, Task]
) -> tuple[dict, dict[str, str]]:
    measured: dict[str, dict[int, dict[str, float]]] = {
        name: {seed: {} for seed in sweep.seeds}
        for name in (*sweep.variants, *([SINGLE_TASK] if sweep.single_task else []))
    }
    missing = {run.name: found for run in sweep.runs if (found := state(run)) != FINISHED}
    if sweep.waiting:
        missing['further seeds'] = f'wait for the choice of {sweep.tuning.key}'
    for run in compared:
        if run.name in missing:
            continue
        metrics = read_json(run.results, 'the results of a test: delete it').get('metrics', {})
        for name in run.cfg.tasks:
            value = metrics.get(f'{name}/{tasks[name].metric}')
            if value is not None:  # null stands for NaN: no frame has a label
                measured[run.variant][run.seed][name] = value
    return measured, missing


def _gains(
    measured: Measured, sweep: Sweep, tasks: Mapping[str, Task]
) -> dict[str, dict[int, float]]:
    """Of each row and seed that has all tasks, over the mean of the single-task models; none
    without a reference.
    """
    single = measured[SINGLE_TASK].values()
    found = {
        name: [values[name] for values in single if name in values] for name in sweep.single_task
    }
    if not all(found.values()) or not all(fmean(values) for values in found.values()):
        return {row: {} for row in measured}
    reference = {name: fmean(values) for name, values in found.items()}
    better = {name: task.higher_is_better for name, task in tasks.items()}
    return {
        row: {
            seed: multi_task_gain(values, reference, better)
            for seed, values in seeds.items()
            if set(values) == set(reference)
        }
        for row, seeds in measured.items()
    }
