"""What a GPU does, in one call of eight minutes: ``python benchmarks/gpu.py``.

Parts, the most wanted first, each a process of its own with a share of the time: forward passes and
training steps of the networks (``speed.py``), the stages of a training iteration and of an
evaluation (``stages.py``), a training of M2H-edge on rendered rooms, and a sweep. What a part has
measured is kept in --out-dir; the same command goes on where the time was over. At the end it
writes ``gpu.json``, ``gpu.md`` (the table) and ``gpu.png``.

    python benchmarks/gpu.py                                   # on a GPU
    python benchmarks/gpu.py --only forward train --seconds 240
    python benchmarks/gpu.py --miniature                       # in small, on any machine
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.system.processes import end_with_parent

HERE = Path(__file__).resolve().parent
M2H, OTHERS = (
    ['m2h_vits', 'm2h_edge'],
    [
        'm2h_small_vits',
        'm2h_fast_vits',
        'm2h_mx_vitb',
        'mti_net_vits',
        'invpt_vits',
    ],
)
LATENCY = ['--sizes', '224x224', '448x576', '--batch-sizes', '1', '16']
SWEEP = HERE.parent / 'configs' / 'sweeps' / 'edge_rooms.py'


@dataclass(frozen=True)
class Part:
    """One process of the whole.

    Attributes:
        name: of its result.
        command: arguments behind ``python``.
        share: of the time that is left when it begins.
        report: its JSON, relative to the output folder, if it writes one.
    """

    name: str
    command: Sequence[str]
    share: float
    report: str | None = None


def speed(name: str, variants: Sequence[str], contenders: str, share: float, *more: str) -> Part:
    return Part(
        name,
        [
            str(HERE / 'speed.py'),
            '--variants',
            *variants,
            '--contenders',
            *contenders.split(),
            *more,
            '--out',
            f'{name}.json',
        ],
        share,
        f'{name}.json',
    )


def parts_of(args: argparse.Namespace) -> list[Part]:
    if args.miniature:
        small = ['--sizes', '28x28', '--repeats', '1', '--warmup', '0', '--time-only']
        small += ['--devices', 'cpu']
        tiny, both = ['m2h_small_tiny'], 'plain optimized+bf16'
        return [
            speed(action, tiny, both, 0.5, '--actions', action, *small)
            for action in ('forward', 'train')
        ]
    forward = ['--actions', 'forward', *LATENCY, '--time-only']
    train = ['--actions', 'train', '--backbones', 'trainable', '--sizes', '448x576']
    train += ['--batch-sizes', '16', '--repeats', '5']
    fast = 'plain plain+tf32 optimized optimized+tf32 optimized+bf16'
    return [
        speed('forward', M2H, f'{fast} optimized+graph optimized+bf16+graph', 0.25, *forward),
        speed('train', [*M2H, *OTHERS[:2]], fast, 0.3, *train),
        speed('compiled', M2H, 'plain optimized+bf16+compile', 0.3, *forward, '--repeats', '5'),
        speed('others', OTHERS, 'plain optimized optimized+bf16', 0.3, *forward, '--repeats', '5'),
        Part('stages', [str(HERE / 'stages.py'), '--out', 'stages.json'], 0.4, 'stages.json'),
        Part(
            'edge',
            ['-m', 'm2h_mm', 'train', 'm2h_edge_lite0_rooms_varied', '--work-dir', 'edge']
            + ['--resume', '--cfg-options', 'default_hooks.checkpoint.interval=100'],
            0.5,
        ),
        Part('sweep', ['-m', 'm2h_mm', 'ablate', str(SWEEP), '--max-parallel', '8'], 1.0),
    ]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out-dir', default='work_dirs/gpu', metavar='DIR', help='(%(default)s)')
    parser.add_argument(
        '--seconds', type=float, default=480, metavar='S', help='of all parts (%(default)s)'
    )
    parser.add_argument('--only', nargs='+', metavar='PART', help='these parts only')
    parser.add_argument(
        '--miniature', action='store_true', help='two parts of tiny networks, on the CPU'
    )
    args = parser.parse_args()
    names = [part.name for part in parts_of(args)]
    if unknown := set(args.only or ()) - set(names):
        parser.error(f'--only: expected some of {names}, got {sorted(unknown)}')
    if args.seconds <= 0:
        parser.error(f'--seconds: expected more than 0, got {args.seconds:g}')
    return args


def run(part: Part, folder: Path, seconds: float) -> str:
    """Run a part for at most so many seconds; its output goes into ``<name>.log``.

    Returns:
        ``'done'``, ``'out of time'`` or ``'failed (status)'``.
    """
    command = [sys.executable, *part.command]
    if 'speed.py' in part.command[0]:
        command += ['--seconds', f'{seconds:.0f}']
        seconds += 60  # for the cell that has begun
    with open(folder / f'{part.name}.log', 'a') as log:
        try:
            status = subprocess.run(
                command,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                preexec_fn=end_with_parent,
            ).returncode
        except subprocess.TimeoutExpired:
            return 'out of time'
    return 'done' if status == 0 else f'failed ({status}), see {part.name}.log'


def cells_of(folder: Path, parts: Sequence[Part]) -> dict[str, Mapping[str, Any]]:
    """All measured cells, by part and name."""
    found = {}
    for part in parts:
        path = folder / (part.report or '')
        if part.report and path.is_file():
            cells = json.loads(path.read_text()).get('cells', {})
            found.update({f'{part.name}: {name}': cell for name, cell in cells.items()})
    return found


def table(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row for each contender of each cell."""
    lines = [
        '| cell | contender | ms | images/s | speed-up | peak MiB |',
        '| --- | --- |' + ' ---: |' * 4,
    ]
    for name, cell in cells.items():
        for contender, cost in cell['contenders'].items():
            gain, memory = cost['speed_up'], cost.get('peak_memory_bytes')
            lines.append(
                f'| {name} | {contender} | {1e3 * cost["seconds"]["median"]:.2f} | '
                f'{cost["images_per_s"]:.0f} | {gain["median"]:.2f} '
                f'({gain["low"]:.2f}-{gain["high"]:.2f}) | '
                f'{"" if memory is None else round(memory / 2**20)} |'
            )
    return '\n'.join(lines) + '\n'


def draw(cells: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Bars of the speed-up over the first contender, a group for each cell."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    contenders = list(dict.fromkeys(c for cell in cells.values() for c in cell['contenders']))
    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.16 * len(contenders) * len(cells)))
    height = 0.8 / len(contenders)
    for index, contender in enumerate(contenders):
        rows = [row for row, cell in enumerate(cells.values()) if contender in cell['contenders']]
        values = [
            cell['contenders'][contender]['speed_up']['median']
            for cell in cells.values()
            if contender in cell['contenders']
        ]
        axes.barh(np.array(rows) + index * height, values, height, label=contender)
    axes.set_yticks(np.arange(len(cells)) + 0.4, list(cells))
    axes.invert_yaxis()
    axes.axvline(1, color='black', linewidth=0.5)
    axes.set_xlabel('speed-up over the first contender of the cell')
    axes.legend(loc='lower right')
    figure.savefig(path, dpi=120, bbox_inches='tight')
    pyplot.close(figure)


def main() -> None:
    args = parse_args()
    folder = Path(args.out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    parts = [part for part in parts_of(args) if not args.only or part.name in args.only]
    end = time.monotonic() + args.seconds
    states = {}
    for part in parts:
        left = end - time.monotonic()
        states[part.name] = run(part, folder, left * part.share) if left > 0 else 'not begun'
        print(f'{part.name}: {states[part.name]}', flush=True)
    cells = cells_of(folder, parts)
    others = {
        part.name: json.loads((folder / part.report).read_text())
        for part in parts
        if part.report == 'stages.json' and (folder / part.report).is_file()
    }
    write_report(
        str(folder / 'gpu.json'),
        dict(parts=states, cells=cells, versions=versions(), **others),
    )
    (folder / 'gpu.md').write_text(table(cells))
    if cells:
        draw(cells, folder / 'gpu.png')
    print(f'Numbers, table and picture: {folder.resolve()}/gpu.*')


if __name__ == '__main__':
    main()
