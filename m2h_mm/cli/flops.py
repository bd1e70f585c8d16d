"""Count operations and parameters of configs, part by part.

Neither weights nor data are needed. One multiply-add is two FLOPs; what papers call FLOPs are
mostly multiply-adds (MACs): GMACs is the column to compare with them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m2h_mm.cli.command import (
    add_cfg_options,
    add_overwrite,
    make_parser,
    run_command,
    whole_number,
)


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm flops CONFIG [CONFIG ...]``; returns the exit status."""
    return run_command(count, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('flops', __doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG', help='path of a config')
    parser.add_argument(
        '--size',
        nargs=2,
        type=whole_number(1),
        metavar=('H', 'W'),
        help='height and width of the image in pixels, rounded up to multiples of the '
        "model's stride (what the config trains on)",
    )
    parser.add_argument(
        '--tasks', nargs='+', metavar='TASK', help='ask the model for these tasks only'
    )
    parser.add_argument('--out', metavar='JSON', help='write the numbers to this file')
    add_overwrite(parser)
    add_cfg_options(parser, 'override values of every config')
    args = parser.parse_args(argv)
    if args.size and min(args.size) < 1:
        parser.error(
            f'--size: expected a height and a width in pixels, got {args.size[0]} {args.size[1]}'
        )
    return args


def count(args: argparse.Namespace) -> None:
    from m2h_mm.evaluation.report import versions, write_report
    from m2h_mm.system.outputs import require_free

    require_free(filter(None, [args.out]), args.configs, args.overwrite)
    rows = [measure(path, args) for path in args.configs]
    print_table(rows)
    if args.out:
        write_report(args.out, dict(configs=rows, versions=versions()))
        print(f'Numbers: {Path(args.out).resolve()}')


def measure(path: str, args: argparse.Namespace) -> dict[str, Any]:
    """The numbers of one config."""
    from m2h_mm.engine.config import load_config
    from m2h_mm.experiments.complexity import (
        build_without_weights,
        count_flops,
        count_parameters,
        fit_size,
        training_size,
    )
    from m2h_mm.models.building import require_tasks

    cfg = load_config(path, args.cfg_options)
    model = build_without_weights(cfg)
    if args.tasks:
        require_tasks(f'--tasks ({path})', args.tasks, tuple(model.tasks))
    size = fit_size(model, args.size or training_size(cfg))
    return dict(
        config=path,
        size=size,
        tasks=args.tasks or list(model.tasks),
        parameters=count_parameters(model),
        **count_flops(model, size, args.tasks),
    )


def print_table(rows: list[dict[str, Any]]) -> None:
    """A row per config, a column per part of the model."""
    from rich.console import Console
    from rich.table import Table

    from m2h_mm.experiments.complexity import PARTS

    parts = [*PARTS, *sorted({part for row in rows for part in row['by_part']} - set(PARTS))]
    sizes = {tuple(row['size']) for row in rows}
    notes = [
        '1 multiply-add = 2 FLOPs; the FLOPs of papers are mostly multiply-adds (MACs). The '
        'parts are in GFLOPs, one image.'
    ]
    if len(sizes) > 1:
        notes.append('The sizes differ: --size H W compares the configs at one.')
    table = Table(title='Complexity', caption='\n'.join(notes))
    table.add_column('config', overflow='fold')
    for name in ('size', 'params (M)', 'trained (M)', 'GMACs', 'GFLOPs', *parts):
        table.add_column(name, justify='right')
    for row in rows:
        parameters = row['parameters']
        table.add_row(
            Path(row['config']).stem,
            'x'.join(map(str, row['size'])),
            *(f'{parameters[key] / 1e6:.2f}' for key in ('total', 'trainable')),
            *(f'{row[key] / 1e9:.2f}' for key in ('macs', 'flops')),
            *(f'{row["by_part"].get(part, 0) / 1e9:.2f}' for part in parts),
        )
    # A pipe has no width for a row to fit into.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
