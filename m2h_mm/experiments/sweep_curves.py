"""Curves of a sweep's validations: whether the trainings were long enough."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from m2h_mm.experiments.curve_plots import draw_group
from m2h_mm.experiments.sweep import Sweep
from m2h_mm.experiments.sweep_recovery import is_finished
from m2h_mm.experiments.training_log import Curve, read_training_log


def plot_curves(path: Path, sweep: Sweep) -> bool:
    """Draw each task's headline metric over the training, a line per variant: the mean over the
    seeds that are in the table.

    Where the lines still rise or fall at their end, a longer training may rank the variants in
    another way.

    Args:
        path: of the PNG.

    Returns:
        Whether there was anything to draw: a finished run that was validated.
    """
    keys = [f'{name}/{task.metric}' for name, task in sweep.tasks.items()]
    found: dict[str, dict[str, list[Curve]]] = {}
    for run in sweep.compared:
        if not is_finished(run):
            continue
        try:
            curves = read_training_log(run.training)
        except FileNotFoundError:  # only its results were kept
            continue
        for key in keys:
            if key in curves:
                found.setdefault(run.variant, {}).setdefault(key, []).append(curves[key])
    if not found:
        return False
    lines = {
        variant: {key: _mean(curves) for key, curves in by_key.items()}
        for variant, by_key in found.items()
    }
    draw_group(lines, [key for key in keys if any(key in line for line in lines.values())], path)
    return True


def _mean(curves: list[Curve]) -> Curve:
    """The mean at the iterations that all have."""
    shared = sorted(set.intersection(*(set(curve.iterations) for curve in curves)))
    points = [dict(zip(curve.iterations, curve.values, strict=True)) for curve in curves]
    values = (fmean(values[iteration] for values in points) for iteration in shared)
    return Curve(tuple(shared), tuple(values))
