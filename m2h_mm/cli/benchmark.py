"""Measure speed and memory of configs side by side.

The network alone is measured, from the normalised image to the heads' outputs, with random weights
and random images; with --train, forward, losses and backward, without the optimiser. The configs
are called in turn within one run: compare their ratios, which hold on a machine that does other
things too, rather than times of different runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2h_mm.cli.command import (
    add_cfg_options,
    add_overwrite,
    make_parser,
    run_command,
    whole_number,
)
from m2h_mm.cli.model_arguments import parse_pixels

MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm benchmark CONFIG [CONFIG ...]``; returns the exit status."""
    return run_command(benchmark, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('benchmark', __doc__)
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='path of a config; ratios are against the first',
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=parse_pixels,
        default=[None],
        metavar='HxW',
        help="images' height x width in pixels, such as 224x224 448x576, rounded "
        'up to multiples of '
        'the stride of each model (what each config trains on)',
    )
    parser.add_argument(
        '--batch-sizes',
        nargs='+',
        type=whole_number(1),
        default=[1],
        metavar='N',
        help='images per call (1)',
    )
    parser.add_argument(
        '--dtype',
        choices=['fp32', 'bf16'],
        default='fp32',
        help='bf16: autocast, weights stay in float32 (%(default)s)',
    )
    parser.add_argument(
        '--device',
        help='cpu, cuda or cuda:N (a GPU where there is one)',
    )
    parser.add_argument(
        '--train', action='store_true', help='measure a training step instead of a prediction'
    )
    parser.add_argument(
        '--compile', action='store_true', help='with torch.compile, anew for every size'
    )
    parser.add_argument(
        '--repeats',
        type=whole_number(1),
        default=20,
        metavar='N',
        help='timed calls per cell (%(default)s)',
    )
    parser.add_argument(
        '--warmup',
        type=whole_number(0),
        default=3,
        metavar='N',
        help='calls before them (%(default)s)',
    )
    parser.add_argument(
        '--tasks', nargs='+', metavar='TASK', help='ask the models for these tasks only'
    )
    parser.add_argument('--out', metavar='JSON', help='write the numbers to this file')
    parser.add_argument(
        '--plot', metavar='PNG', help='draw time against image area, with the fitted exponent'
    )
    add_overwrite(parser)
    add_cfg_options(parser, 'override values of every config')
    args = parser.parse_args(argv)
    if args.train and args.tasks:
        parser.error('--tasks: a training step is one of all tasks')
    if min(args.batch_sizes) < 1 or args.repeats < 1 or args.warmup < 0:
        parser.error(
            'expected --batch-sizes and --repeats of at least 1 and --warmup of at least 0'
        )
    if len(set(args.configs)) < len(args.configs):
        parser.error('a config is named twice')
    return args


def benchmark(args: argparse.Namespace) -> None:
    import torch

    from m2h_mm.engine.config import load_config
    from m2h_mm.evaluation.report import versions, write_report
    from m2h_mm.experiments.benchmark import build_model, describe_device, measure_cell
    from m2h_mm.experiments.complexity import fit_size, training_size
    from m2h_mm.system.outputs import require_free

    require_free(filter(None, [args.out, args.plot]), args.configs, args.overwrite)
    args.device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(f'--device {args.device}: PyTorch {torch.__version__} finds no GPU here.')
    torch.backends.cudnn.benchmark = True
    stems = [Path(path).stem for path in args.configs]
    names = stems if len(set(stems)) == len(stems) else args.configs
    cfgs = [load_config(path, args.cfg_options) for path in args.configs]
    models = {
        name: build_model(path, cfg, args)
        for name, path, cfg in zip(names, args.configs, cfgs, strict=True)
    }
    rows, notes = [], []
    for asked in args.sizes:
        wanted = {name: asked or training_size(cfg) for name, cfg in zip(names, cfgs, strict=True)}
        sizes = {name: fit_size(model, wanted[name]) for name, model in models.items()}
        notes += [
            f'{name}: {"x".join(map(str, wanted[name]))} rounded up to {"x".join(map(str, size))}.'
            for name, size in sizes.items()
            if size != tuple(wanted[name])
        ]
        if len(set(sizes.values())) > 1:
            notes.append(
                'Not all configs run at the same size: their ratios are per image, not per pixel.'
            )
        for batch_size in args.batch_sizes:
            rows += measure_cell(models, sizes, batch_size, args)
    what = 'training step' if args.train else 'prediction'
    title = f'{what}, {args.dtype}{", compiled" if args.compile else ""}, {describe_device(args)}'
    load = os.getloadavg()[0]
    if not args.device.startswith('cuda') and load > torch.get_num_threads() + 0.5:
        notes.append(
            f'The machine is busy (load {load:.1f}): of these numbers, only ratios mean something.'
        )
    print_table(rows, title, list(dict.fromkeys(notes)))
    if args.out:
        write_report(
            args.out,
            dict(
                cells=rows,
                configs=args.configs,
                mode=what,
                dtype=args.dtype,
                compiled=args.compile,
                device=describe_device(args),
                tasks=args.tasks,
                repeats=args.repeats,
                warmup=args.warmup,
                versions=versions(),
            ),
        )
        print(f'Numbers: {Path(args.out).resolve()}')
    if args.plot:
        from m2h_mm.experiments.benchmark_plot import draw

        draw(rows, title, args.plot)
        print(f'Plot: {Path(args.plot).resolve()}')


def print_table(rows: Sequence[Mapping[str, Any]], title: str, notes: Sequence[str]) -> None:
    """A row per config, size and batch size."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption='\n'.join(notes))
    table.add_column('config', overflow='fold')
    for name in ('size', 'batch', 'median (ms)', 'p10-p90 (ms)', 'images/s', 'ratio', 'peak (MiB)'):
        table.add_column(name, justify='right')
    for index, row in enumerate(rows):
        if index and row['config'] == rows[0]['config']:
            table.add_section()
        cells = [row['config'], 'x'.join(map(str, row['size'])), str(row['batch_size'])]
        if row['out_of_memory']:
            cells += ['out of memory', *[''] * 4]
        else:
            cells += [
                f'{row["median_s"] * 1e3:.2f}',
                f'{row["p10_s"] * 1e3:.2f}-{row["p90_s"] * 1e3:.2f}',
                f'{row["images_per_s"]:.1f}',
                f'{row["ratio"]:.3f}' if 'ratio' in row else '',
                f'{row["peak_memory_bytes"] / MIB:.0f}',
            ]
        table.add_row(*cells)
    # A pipe has no width for a row to fit into.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
