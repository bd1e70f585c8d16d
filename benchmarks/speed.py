"""The yardstick for speed: a model against its optimised form, ``python benchmarks/speed.py``.

The plain model is what the modules' forwards say; ``m2h_mm.models.optimize`` makes the other one.
Both have the same weights, images, labels and losses, and are called in turn (A B A B ...): of the
times on a machine that does other things too, the ratios within rounds hold. Every cell (variant,
backbone, size, batch, dtype, device, action) is written to --out as soon as it is measured, and
skipped when the command is given again.

    # M2H, M2H-small and M2H-fast, forward and training step: time and peak memory, and their ratios
    python benchmarks/speed.py
    python benchmarks/speed.py --variants m2h_tiny --repeats 3      # a look, in a minute
    python benchmarks/speed.py --actions train --only small --again # some cells anew
    python benchmarks/speed.py --contenders plain plain+channels_last optimized optimized+compile
    python benchmarks/speed.py --profile --contenders optimized     # where the time goes
"""

import argparse
import itertools
import json
import math
import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from speed_costs import contender_memory, count_bytes, count_flops, machine_limits
from speed_models import (
    ACTIONS,
    DTYPES,
    MADE,
    NETWORKS,
    VARIANTS,
    Cell,
    build_call,
    build_model,
    difference,
)
from speed_profile import shares, table_of

from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.timing import time_calls

MIB, GIGA = 2**20, 1e9


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--variants',
        nargs='+',
        choices=VARIANTS,
        default=['m2h_vits', 'm2h_small_vits', 'm2h_fast_vits'],
    )
    parser.add_argument(
        '--backbones', nargs='+', choices=('frozen', 'trainable'), default=['frozen']
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=parse_size,
        default=[(224, 224)],
        metavar='HxW',
        help="height x width in pixels, padded to what a variant's backbone takes (224x224)",
    )
    parser.add_argument('--batch-sizes', nargs='+', type=int, default=[1], metavar='N')
    parser.add_argument(
        '--dtypes', nargs='+', choices=DTYPES, default=['fp32'], help='bf16: autocast'
    )
    parser.add_argument(
        '--devices', nargs='+', default=['cuda' if torch.cuda.is_available() else 'cpu']
    )
    parser.add_argument('--actions', nargs='+', choices=ACTIONS, default=['forward', 'train'])
    parser.add_argument(
        '--contenders',
        nargs='+',
        type=parse_contender,
        default=list(NETWORKS),
        help=f'{" or ".join(NETWORKS)}, and what is done to it, such as plain+channels_last; known '
        f'are {", ".join(MADE)}. Ratios are against the first (plain optimized)',
    )
    parser.add_argument(
        '--only', metavar='REGEX', help='cells whose name it is found in, such as small.*train'
    )
    parser.add_argument('--again', action='store_true', help='measure anew what is in --out')
    parser.add_argument(
        '--repeats',
        type=int,
        default=10,
        metavar='N',
        help='timed rounds, or profiled calls (%(default)s)',
    )
    parser.add_argument(
        '--warmup',
        type=int,
        default=1,
        metavar='N',
        help='rounds before them, after a first call (%(default)s)',
    )
    parser.add_argument(
        '--seconds', type=float, default=math.inf, metavar='S', help='begin no cell after these'
    )
    parser.add_argument(
        '--time-only',
        action='store_true',
        help='leave out memory and traffic, which take calls more',
    )
    parser.add_argument('--profile', action='store_true', help='print where the time goes instead')
    parser.add_argument(
        '--out', default='work_dirs/speed.json', metavar='JSON', help='(%(default)s)'
    )
    args = parser.parse_args()
    if args.repeats < 1 or args.warmup < 0 or min(args.batch_sizes) < 1:
        parser.error(
            'expected --repeats and --batch-sizes of at least 1 and --warmup of at least 0'
        )
    return args


def parse_size(text: str) -> tuple[int, int]:
    """``'448x574'`` to (448, 574)."""
    size = tuple(int(part) for part in text.split('x') if part.isdecimal())
    if len(size) != 2 or min(size) < 14:
        raise argparse.ArgumentTypeError(
            f'expected HEIGHTxWIDTH in pixels, of at least 14, got {text!r}'
        )
    return size


def parse_contender(text: str) -> str:
    network, *preparations = text.split('+')
    if network not in NETWORKS or not set(preparations) <= set(MADE):
        raise argparse.ArgumentTypeError(
            f'expected one of {NETWORKS} and any of {MADE} behind a +, got {text!r}'
        )
    return text


def selected_cells(args: argparse.Namespace) -> list[Cell]:
    cells = itertools.starmap(
        Cell,
        itertools.product(
            args.variants,
            args.backbones,
            args.sizes,
            args.batch_sizes,
            args.dtypes,
            args.devices,
            args.actions,
        ),
    )
    # Without gradients a frozen backbone is no other.
    cells = [cell for cell in cells if cell.action == 'train' or cell.backbone == args.backbones[0]]
    return [cell for cell in cells if not args.only or re.search(args.only, cell.name)]


def measure(cell: Cell, args: argparse.Namespace) -> dict[str, Any]:
    """One row of the report: every contender's costs and its speed against the first one's."""
    torch.compiler.reset()
    networks = {contender.split('+')[0] for contender in args.contenders}
    flops = {network: count_flops(build_model(cell, network), cell) for network in networks}
    calls, costs, first = {}, {}, None
    for contender in args.contenders:
        model = build_model(cell, contender)
        calls[contender] = call = build_call(model, cell, contender=contender)
        result = call()
        first = first or result
        costs[contender] = cost = dict(
            difference=difference(result, first), flops=flops[contender.split('+')[0]]
        )
        if not args.time_only:
            cost['peak_memory_bytes'] = contender_memory(cell, contender)
            if (
                'compile' not in contender
            ):  # what a compiled network reads and writes is not seen from outside
                cost['traffic_bytes'] = count_bytes(call)
    limits = machine_limits(cell.device, cell.dtype)
    times = time_calls(
        {**calls, **{name: call for name, (call, _) in limits.items()}},
        args.repeats,
        args.warmup,
        cell.device,
    )
    best = {name: amount / min(times[name]) for name, (_, amount) in limits.items()}
    peaks = dict(flops_per_s=best['product'], bytes_per_s=best['copy'])
    reference = costs[args.contenders[0]]
    for contender, cost in costs.items():
        values = times[contender]
        median = float(np.median(values))
        cost.update(
            seconds=quartiles(values),
            images_per_s=cell.batch_size / median,
            speed_up=quartiles(np.divide(times[args.contenders[0]], values)),
            compute_share=cost['flops'] / peaks['flops_per_s'] / median,
        )
        if 'peak_memory_bytes' in cost:
            cost['memory_ratio'] = cost['peak_memory_bytes'] / reference['peak_memory_bytes']
        if 'traffic_bytes' in cost:
            cost['memory_share'] = cost['traffic_bytes'] / peaks['bytes_per_s'] / median
    return dict(
        vars(cell),
        contenders=costs,
        peaks=peaks,
        rounds=args.repeats,
        threads=torch.get_num_threads(),
        machine=platform.processor() or platform.machine(),
        load=os.getloadavg()[0],
        gpu=torch.cuda.get_device_name(cell.device) if cell.device.startswith('cuda') else None,
        versions=versions(),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
    )


def quartiles(values: Any) -> dict[str, float]:
    low, median, high = np.percentile(values, (25, 50, 75)).tolist()
    return dict(median=median, low=low, high=high)


def print_rows(rows: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table(
        title='Speed',
        caption='Quartiles in brackets, those of the speed-up within '
        'rounds. Operations and '
        'traffic as shares of what a large matrix product and a large copy reach at best '
        'in the same rounds: '
        'these hold on an idle machine only.',
    )
    table.add_column('contender')
    for name in (
        'time (ms)',
        'speed-up',
        'peak memory (MiB)',
        'ratio',
        'GFLOPs',
        'of peak',
        'traffic (GB)',
        'of peak',
        'difference',
    ):
        table.add_column(name, justify='right')
    for name, row in rows.items():
        table.add_section()
        table.add_row(
            f'[bold]{name}',
            *[''] * 4,
            f'{row["peaks"]["flops_per_s"] / GIGA:.0f}/s',
            '',
            f'{row["peaks"]["bytes_per_s"] / GIGA:.1f}/s',
            '',
            f'load {row["load"]:.1f}',
        )
        for contender, cost in row['contenders'].items():
            traffic, memory = cost.get('traffic_bytes'), cost.get('peak_memory_bytes')
            table.add_row(
                f'  {contender}',
                spread(cost['seconds'], 1e3, 0),
                spread(cost['speed_up'], 1, 2),
                '' if memory is None else f'{memory / MIB:.0f}',
                '' if memory is None else f'{cost["memory_ratio"]:.2f}',
                f'{cost["flops"] / GIGA:.1f}',
                f'{cost["compute_share"]:.0%}',
                '' if traffic is None else f'{traffic / GIGA:.2f}',
                '' if traffic is None else f'{cost["memory_share"]:.0%}',
                f'{cost["difference"]:.0e}',
            )
    console().print(table)


def spread(values: Mapping[str, float], unit: float, digits: int) -> str:
    median, low, high = (f'{values[name] * unit:.{digits}f}' for name in ('median', 'low', 'high'))
    return f'{median} ({low}-{high})'


def console() -> Console:
    # A pipe has no width for a row to fit into.
    return Console(width=None if sys.stdout.isatty() else 180)


def print_profile(cell: Cell, contender: str, repeats: int) -> None:
    model = build_model(cell, contender)
    call = build_call(model, cell, contender=contender)
    call()
    rows = shares(model, call, cell.device, repeats)
    kinds, parts = table_of(rows)
    seconds = sum(row['seconds'] for row in rows)
    table = Table(title=f'{contender}, {cell.name}: shares of {1e3 * seconds:.0f} ms (%)')
    table.add_column('part')
    for name in (*kinds, 'all'):
        table.add_column(name, justify='right')
    for part, found in parts:
        table.add_row(
            part,
            *(f'{100 * found[kind]:.1f}' if kind in found else '' for kind in kinds),
            f'[bold]{100 * sum(found.values()):.1f}',
        )
    table.add_section()
    totals = [100 * sum(found.get(kind, 0) for _, found in parts) for kind in kinds]
    table.add_row('all', *(f'[bold]{total:.1f}' for total in totals), '100')
    console().print(table)


def main() -> None:
    args = parse_args()
    cells = selected_cells(args)
    if args.profile:
        for cell, contender in itertools.product(cells, args.contenders):
            print_profile(cell, contender, args.repeats)
        return
    rows = json.loads(Path(args.out).read_text())['cells'] if Path(args.out).is_file() else {}
    end = time.monotonic() + args.seconds
    for cell in cells:
        if time.monotonic() > end:
            print('--seconds are over: the same command goes on from here.')
            break
        if not args.again and set(args.contenders) <= set(
            rows.get(cell.name, {}).get('contenders', ())
        ):
            continue
        rows[cell.name] = measure(cell, args)
        write_report(args.out, dict(cells=rows))
        print(f'{cell.name}: measured', flush=True)
    print_rows({cell.name: rows[cell.name] for cell in cells if cell.name in rows})
    print(f'Numbers: {Path(args.out).resolve()}')


if __name__ == '__main__':
    main()
