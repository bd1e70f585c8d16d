"""Curves of trainings as pictures: one per group of quantities, one line per training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from m2h_mm.experiments.figures import save_figure
from m2h_mm.experiments.training_log import Curve, best_direction

COLUMNS = 3
GAIN = 'delta_m'
DASHES = ('-', '--', ':')
ARROWS = dict(greater='↑', less='↓')


def group_of(key: str) -> str:
    """The picture that a quantity belongs to."""
    if key == GAIN or key.startswith('gain/'):
        return 'gain'
    if '/' in key:
        return key.split('/')[0]
    if key.startswith('w_'):
        return 'weights'
    if key.startswith('raw_'):
        return 'raw_losses'
    return 'losses' if 'loss' in key else 'schedule'


def draw_group(runs: Mapping[str, Mapping[str, Curve]], keys: Sequence[str], path: Path) -> None:
    """One picture: a panel per quantity, a line per run."""
    columns = min(COLUMNS, len(keys))
    rows = -(-len(keys) // columns)
    figure = Figure(figsize=(4.2 * columns + 0.6, 2.9 * rows + 0.9), layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, key in zip(panels, keys, strict=False):
        for index, curves in enumerate(runs.values()):
            if key in curves:
                curve = curves[key]
                # A single point has no line to be seen by.
                panel.plot(
                    curve.iterations,
                    curve.values,
                    **_style(index),
                    linewidth=1.2,
                    marker='o' if len(curve.values) <= 20 else None,
                    markersize=3,
                )
        arrow = ARROWS.get(best_direction(key), '')
        panel.set_title(f'{key} {arrow}', fontsize='medium')
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.grid(alpha=0.3)
    for panel in panels[len(keys) :]:
        panel.remove()
    for panel in panels[max(len(keys) - columns, 0) : len(keys)]:
        panel.set_xlabel('iteration')
    handles = [figure.axes[0].plot([], [], **_style(index))[0] for index in range(len(runs))]
    figure.legend(
        handles, list(runs), loc='outside lower center', ncols=min(len(runs), 3), fontsize='small'
    )
    save_figure(figure, path, 120)


def _style(index: int) -> dict[str, str]:
    """Colour and dashes of a run: ten colours, and dashes that tell the tens apart."""
    return dict(color=f'C{index % 10}', linestyle=DASHES[index // 10 % len(DASHES)])


def pictures(keys: Sequence[str], out_dir: Path) -> dict[Path, list[str]]:
    """The picture of each group of quantities, by its file."""
    drawn: dict[Path, list[str]] = {}
    for key in keys:
        name = re.sub(r'[^A-Za-z0-9_.-]', '_', group_of(key))
        drawn.setdefault(out_dir / f'{name}.png', []).append(key)
    return drawn
