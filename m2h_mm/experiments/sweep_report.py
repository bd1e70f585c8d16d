"""Results of a sweep: means and spreads over seeds, multi-task gains, differences that count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from m2h_mm.evaluation.gain import multi_task_gain
from m2h_mm.experiments.sweep import Sweep
from m2h_mm.experiments.sweep_spec import SINGLE_TASK
from m2h_mm.experiments.sweep_states import FINISHED, state
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
        are the last one) ``seeds`` (which are finished), ``cells`` (see :func:`compare`) and
        ``costs``; ``missing``, name to state of the runs that are not finished; ``num_seeds``;
        ``costs``, how they were measured.
    """
    tasks = sweep.tasks
    measured, missing = _collect(sweep, tasks)
    columns = {f'{name}/{task.metric}': task.higher_is_better for name, task in tasks.items()}
    values = {
        row: {
            f'{name}/{task.metric}': [seeds[seed][name] for seed in seeds if name in seeds[seed]]
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
    rows = {
        row: dict(
            seeds=[seed for seed in seeds if seeds[seed]],
            cells={column: cells[column][row] for column in columns},
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


def _collect(sweep: Sweep, tasks: Mapping[str, Task]) -> tuple[dict, dict[str, str]]:
    measured: dict[str, dict[int, dict[str, float]]] = {
        name: {seed: {} for seed in sweep.seeds}
        for name in (*sweep.variants, *([SINGLE_TASK] if sweep.single_task else []))
    }
    missing = {}
    for run in sweep.runs:
        found = state(run)
        if found != FINISHED:
            missing[run.name] = found
            continue
        metrics = read_json(run.results, 'the results of a test: delete it').get('metrics', {})
        for name in run.cfg.tasks:
            value = metrics.get(f'{name}/{tasks[name].metric}')
            if value is not None:  # null stands for NaN: no frame has a label
                measured[run.variant][run.seed][name] = value
    return measured, missing


def _gains(measured: Measured, sweep: Sweep, tasks: Mapping[str, Task]) -> dict[str, list[float]]:
    """Of each row and seed that has all tasks, over the mean of the single-task models; none
    without a reference.
    """
    single = measured[SINGLE_TASK].values()
    found = {
        name: [values[name] for values in single if name in values] for name in sweep.single_task
    }
    if not all(found.values()) or not all(fmean(values) for values in found.values()):
        return {row: [] for row in measured}
    reference = {name: fmean(values) for name, values in found.items()}
    better = {name: task.higher_is_better for name, task in tasks.items()}
    return {
        row: [
            multi_task_gain(values, reference, better)
            for values in seeds.values()
            if set(values) == set(reference)
        ]
        for row, seeds in measured.items()
    }


def compare(
    values: Mapping[str, Sequence[float]], higher_is_better: bool
) -> dict[str, dict[str, Any]]:
    """One column of the table.

    Two rows are told apart if their means differ by more than ``sqrt(s_a^2 + s_b^2)``, s the
    standard deviation over seeds (with n - 1), which takes two seeds of both.

    Args:
        values: by row, the values of its seeds; the first row is the reference.

    Returns:
        By row ``values``, ``mean`` (None without values), ``std`` (None below two),
        ``like_reference`` (True if not told apart from the reference, None if that cannot be said
        or it is the reference), and ``best``: better than every other row that has values, and told
        apart from each. The single-task row is not a candidate.
    """
    cells = {
        row: dict(
            values=list(found),
            mean=fmean(found) if found else None,
            std=stdev(found) if len(found) > 1 else None,
        )
        for row, found in values.items()
    }
    reference = next(iter(cells))
    for row, cell in cells.items():
        cell['like_reference'] = None if row == reference else _alike(cell, cells[reference])
        others = [
            other
            for name, other in cells.items()
            if name not in (row, SINGLE_TASK) and other['mean'] is not None
        ]
        cell['best'] = (
            row != SINGLE_TASK
            and bool(others)
            and all(
                _alike(cell, other) is False and (cell['mean'] > other['mean']) == higher_is_better
                for other in others
            )
        )
    return cells


def _alike(a: Mapping, b: Mapping) -> bool | None:
    if a['std'] is None or b['std'] is None:
        return None
    return abs(a['mean'] - b['mean']) <= math.hypot(a['std'], b['std'])
