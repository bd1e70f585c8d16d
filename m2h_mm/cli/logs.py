"""Draw curves of trainings side by side.

Draws losses, their weights and metrics, one picture per group and one line per run, and prints the
last and the best value of each. A training that was resumed is one run.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_overwrite, make_parser, run_command
from m2h_mm.system.spelling import did_you_mean

if TYPE_CHECKING:
    from m2h_mm.experiments.training_log import Curve

# Of mmengine's own logging; drawn, but in the table only if asked for.
SCHEDULE = ('lr', 'base_lr', 'momentum', 'grad_norm', 'time', 'data_time', 'memory')


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm logs WORK_DIR [WORK_DIR ...]``; returns the exit status."""
    return run_command(show_logs, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('logs', __doc__)
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
    add_overwrite(parser)
    return parser.parse_args(argv)


def show_logs(args: argparse.Namespace) -> None:
    from m2h_mm.experiments.curve_plots import draw_group, pictures
    from m2h_mm.system.outputs import require_free

    runs = read_runs(args.work_dirs)
    keys = select_keys(runs, args.keys)
    drawn = pictures(keys, Path(args.out_dir))
    require_free(drawn, overwrite=args.overwrite)
    print_table(runs, args.keys or [key for key in keys if key not in SCHEDULE])
    for path, members in drawn.items():
        draw_group(runs, members, path)
        print(f'Picture: {path.resolve()}')


def read_runs(work_dirs: Sequence[str]) -> dict[str, dict[str, Curve]]:
    """Run name to its curves; the name is that of the work dir, or its path where two have the same
    one.
    """
    from m2h_mm.experiments.training_log import read_training_log

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
    from m2h_mm.experiments.curve_plots import group_of

    known = list(dict.fromkeys(key for curves in runs.values() for key in curves))
    for key in asked or ():
        if key not in known:
            raise ValueError(
                f'--keys: no run has logged {key!r}.{did_you_mean(key, known)} There are: '
                f'{", ".join(known)}.'
            )
    groups = list(dict.fromkeys(group_of(key) for key in known))
    return list(asked or sorted(known, key=lambda key: groups.index(group_of(key))))


def number(value: float) -> str:
    if math.isfinite(value) and value and not 1e-3 <= abs(value) < 1e5:
        return f'{value:.3e}'
    return f'{value:.4f}'


def print_table(runs: Mapping[str, Mapping[str, Curve]], keys: Sequence[str]) -> None:
    """Last and best values: rows are quantities, columns are runs."""
    from rich.console import Console
    from rich.table import Table

    from m2h_mm.experiments.curve_plots import ARROWS, group_of
    from m2h_mm.experiments.training_log import best_direction

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
