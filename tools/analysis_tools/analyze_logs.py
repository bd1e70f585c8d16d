"""Curves of trainings side by side: ``python tools/analysis_tools/analyze_logs.py WORK_DIR
[WORK_DIR ...]``.

Draws losses, their weights and metrics, one picture per group and one line per run, and prints the
last and the best value of each. A training that was resumed is one run.
"""

import argparse
import difflib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.table import Table

from m2h_mm.cli.common import GAIN, plain_errors
from m2h_mm.experiments.training_log import Curve, best_direction, read_training_log

COLUMNS = 3
# Of mmengine's own logging; drawn, but in the table only if asked for.
SCHEDULE = ('lr', 'base_lr', 'momentum', 'grad_norm', 'time', 'data_time', 'memory')
ARROWS = dict(greater='↑', less='↓')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR', help='work dir of a training')
    parser.add_argument(
        '--keys',
        nargs='+',
        metavar='KEY',
        help='only these quantities, such as loss raw_semseg w_depth semseg/mIoU '
        '(all that are logged)',
    )
    parser.add_argument(
        '--out-dir',
        default='work_dirs/curves',
        metavar='DIR',
        help='where the pictures go (%(default)s)',
    )
    return parser.parse_args()


def read_runs(work_dirs: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """Run name to its curves; the name is that of the work dir, or its path where two have the same
    one.
    """
    paths = [Path(work_dir).resolve() for work_dir in work_dirs]
    if len(set(paths)) < len(paths):
        raise ValueError(f'A work dir is named twice among {list(work_dirs)}.')
    names = [path.name for path in paths]
    names = names if len(set(names)) == len(names) else [str(path) for path in paths]
    return {
        name: read_training_log(work_dir) for name, work_dir in zip(names, work_dirs, strict=True)
    }


def select_keys(runs: Mapping[str, Mapping[str, Curve]], asked: Sequence[str] | None) -> list[str]:
    """The quantities to show: those asked for, or all that any run has logged."""
    known = list(dict.fromkeys(key for curves in runs.values() for key in curves))
    for key in asked or ():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f' Did you mean {close[0]!r}?' if close else ''
            raise ValueError(
                f'--keys: no run has logged {key!r}.{hint} There are: {", ".join(known)}.'
            )
    groups = list(dict.fromkeys(group_of(key) for key in known))
    return list(asked or sorted(known, key=lambda key: groups.index(group_of(key))))


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
                    color=f'C{index}',
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
    handles = [figure.axes[0].plot([], [], color=f'C{index}')[0] for index in range(len(runs))]
    figure.legend(
        handles, list(runs), loc='outside lower center', ncols=min(len(runs), 3), fontsize='small'
    )
    figure.savefig(path, dpi=120)


def draw_all(
    runs: Mapping[str, Mapping[str, Curve]], keys: Sequence[str], out_dir: Path
) -> list[Path]:
    """All pictures; returns their files."""
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(group_of(key), []).append(key)
    out_dir.mkdir(parents=True, exist_ok=True)
    paths = []
    for group, members in groups.items():
        paths.append(out_dir / f'{re.sub(r"[^A-Za-z0-9_.-]", "_", group)}.png')
        draw_group(runs, members, paths[-1])
    return paths


def number(value: float) -> str:
    if math.isfinite(value) and value and not 1e-3 <= abs(value) < 1e5:
        return f'{value:.3e}'
    return f'{value:.4f}'


def print_table(runs: Mapping[str, Mapping[str, Curve]], keys: Sequence[str]) -> None:
    """Last and best values: rows are quantities, columns are runs."""
    ends = {
        name: max(curve.iterations[-1] for curve in curves.values())
        for name, curves in runs.items()
    }
    table = Table(
        title='Trainings',
        caption='last value; best value @ its iteration. ↑ higher is better, ↓ lower',
    )
    table.add_column('')
    for name, end in ends.items():
        table.add_column(f'{name}\nto {end}', justify='right', overflow='fold')
    group = None
    for key in keys:
        if group != (group := group_of(key)):
            table.add_section()
        direction = best_direction(key)
        cells = []
        for curves in runs.values():
            curve = curves.get(key)
            best = curve.best(direction) if curve and direction else None
            cells.append(
                ''
                if curve is None
                else number(curve.last) + (f'; {number(best[1])} @ {best[0]}' if best else '')
            )
        table.add_row(f'{key} {ARROWS.get(direction, "")}', *cells)
    # A pipe has no width for a row to fit into.
    Console(width=None if sys.stdout.isatty() else 40 + 40 * len(runs)).print(table)


def main() -> None:
    args = parse_args()
    runs = read_runs(args.work_dirs)
    keys = select_keys(runs, args.keys)
    print_table(runs, args.keys or [key for key in keys if key not in SCHEDULE])
    for path in draw_all(runs, keys, Path(args.out_dir)):
        print(f'Picture: {path.resolve()}')


if __name__ == '__main__':
    with plain_errors():
        main()
