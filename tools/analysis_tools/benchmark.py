"""Speed and memory of configs side by side: ``python tools/analysis_tools/benchmark.py CONFIG
[CONFIG ...]``.

The network alone is measured, from the normalised image to the heads' outputs, with random weights
and random images; with --train, forward, losses and backward, without the optimiser. The configs
are called in turn within one run:
compare their ratios, which hold on a machine that does other things too, rather than times of
different runs.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.config import Config, DictAction
from mmengine.structures import PixelData
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from m2h_mm.cli.common import plain_errors
from m2h_mm.engine.config import load_config
from m2h_mm.evaluation.report import versions, write_report
from m2h_mm.experiments.complexity import fit_size, training_size
from m2h_mm.experiments.timing import is_out_of_memory, peak_memory, time_calls
from m2h_mm.models.building import require_tasks
from m2h_mm.registry import MODELS
from m2h_mm.structures import MultiTaskDataSample

DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16)
MIB = 2**20
Size = tuple[int, int]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='path of a config; ratios are against the first',
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=parse_size,
        default=[None],
        metavar='HxW',
        help="images' height x width in pixels, such as 224x224 448x576, rounded "
        'up to multiples of '
        'the stride of each model (what each config trains on)',
    )
    parser.add_argument(
        '--batch-sizes', nargs='+', type=int, default=[1], metavar='N', help='images per call (1)'
    )
    parser.add_argument(
        '--dtype',
        choices=DTYPES,
        default='fp32',
        help='bf16: autocast, weights stay in float32 (%(default)s)',
    )
    parser.add_argument(
        '--device',
        default='cuda' if torch.cuda.is_available() else 'cpu',
        help='cpu, cuda or cuda:N (cuda where there is one)',
    )
    parser.add_argument(
        '--train', action='store_true', help='measure a training step instead of a prediction'
    )
    parser.add_argument(
        '--compile', action='store_true', help='with torch.compile, anew for every size'
    )
    parser.add_argument(
        '--repeats', type=int, default=20, metavar='N', help='timed calls per cell (%(default)s)'
    )
    parser.add_argument(
        '--warmup', type=int, default=3, metavar='N', help='calls before them (%(default)s)'
    )
    parser.add_argument(
        '--tasks', nargs='+', metavar='TASK', help='ask the models for these tasks only'
    )
    parser.add_argument('--out', metavar='JSON', help='write the numbers to this file')
    parser.add_argument(
        '--plot', metavar='PNG', help='draw time against image area, with the fitted exponent'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='override values of every config',
    )
    args = parser.parse_args()
    if args.train and args.tasks:
        parser.error('--tasks: a training step is one of all tasks')
    if min(args.batch_sizes) < 1 or args.repeats < 1 or args.warmup < 0:
        parser.error(
            'expected --batch-sizes and --repeats of at least 1 and --warmup of at least 0'
        )
    if len(set(args.configs)) < len(args.configs):
        parser.error('a config is named twice')
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        parser.error(f'--device {args.device}: PyTorch {torch.__version__} finds no GPU here')
    return args


def parse_size(text: str) -> Size:
    """``'448x576'`` to (448, 576)."""
    height, _, width = text.partition('x')
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(
            f'expected HEIGHTxWIDTH in pixels, such as 448x576, got {text!r}'
        )
    return int(height), int(width)


def build_model(path: str, cfg: Config, args: argparse.Namespace) -> nn.Module:
    """A config's model with random weights (``init_cfg`` is not read)."""
    model = MODELS.build(cfg.model).to(args.device).train(args.train)
    if args.tasks:
        require_tasks(f'--tasks ({path})', args.tasks, tuple(model.tasks))
    if args.compile:
        # A loss looks at the labels in Python, which the network does not.
        parts = (
            [model.backbone, model.neck, model.decoder, *model.heads.values()]
            if args.train
            else [model]
        )
        for part in filter(None, parts):
            part.compile(dynamic=False)
    return model


def predicted_labels(model: nn.Module, inputs: Tensor) -> list[MultiTaskDataSample]:
    """A label of every task, in its own space: what the untrained model predicts of noise."""
    height, width = inputs.shape[-2:]
    camera = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1]])
    samples = [MultiTaskDataSample(metainfo=dict(cam2img=camera)) for _ in inputs]
    model.eval()
    with torch.no_grad():
        model.predict(inputs, samples)
    model.train()
    for sample in samples:
        for task in model.tasks.values():
            sample.set_field(PixelData(data=sample.get(task.pred_field).data), task.gt_field)
    return samples


def build_call(
    model: nn.Module, batch_size: int, size: Size, args: argparse.Namespace
) -> Callable[[], Any]:
    """What is measured, a function without arguments."""
    inputs = torch.randn(batch_size, 3, *size, device=args.device)
    autocast = dict(
        device_type=torch.device(args.device).type,
        dtype=DTYPES[args.dtype],
        enabled=args.dtype != 'fp32',
    )

    def predict() -> dict[str, Tensor]:
        with torch.no_grad(), torch.autocast(**autocast):
            return model(inputs, mode='tensor', tasks=args.tasks)

    if not args.train:
        return predict
    samples = predicted_labels(model, inputs)

    def train_step() -> None:
        with torch.autocast(**autocast):
            loss, _ = model.parse_losses(model(inputs, samples, mode='loss'))
        loss.backward()
        model.zero_grad()

    return train_step


def measure_cell(
    models: Mapping[str, nn.Module],
    sizes: Mapping[str, Size],
    batch_size: int,
    args: argparse.Namespace,
) -> list[dict[str, Any]]:
    """All models at one size and batch size, called in turn; memory first, then time."""
    torch.compiler.reset()
    rows = {
        name: dict(config=name, size=sizes[name], batch_size=batch_size, out_of_memory=False)
        for name in models
    }
    calls = {}
    for name, model in models.items():
        try:
            call = build_call(model, batch_size, sizes[name], args)
            call()
            weights = sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
            rows[name]['peak_memory_bytes'] = weights + peak_memory(call, args.device)
            calls[name] = call
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            rows[name]['out_of_memory'] = True
            model.zero_grad()
        if args.device.startswith('cuda'):
            torch.cuda.empty_cache()
    times = time_calls(calls, args.repeats, args.warmup, args.device) if calls else {}
    first = next(iter(models))
    for name, values in times.items():
        low, median, high = np.percentile(values, (10, 50, 90)).tolist()
        rows[name].update(median_s=median, p10_s=low, p90_s=high, images_per_s=batch_size / median)
        if first in times:
            rows[name]['ratio'] = float(np.median(np.divide(values, times[first])))
    return list(rows.values())


def describe_device(args: argparse.Namespace) -> str:
    if args.device.startswith('cuda'):
        return torch.cuda.get_device_name(args.device)
    return f'{platform.processor() or platform.machine()} CPU, {torch.get_num_threads()} thread(s)'


def print_table(rows: Sequence[Mapping[str, Any]], title: str, notes: Sequence[str]) -> None:
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


def fitted_exponent(areas: Sequence[float], times: Sequence[float]) -> float | None:
    """p of times ~ areas^p by least squares of the logarithms; None for fewer than two different
    areas.
    """
    if len(set(areas)) < 2:
        return None
    return float(np.polyfit(np.log(areas), np.log(times), 1)[0])


def draw(rows: Sequence[Mapping[str, Any]], title: str, path: str) -> None:
    """Time per image against image area, one line per config and batch size."""
    figure = Figure(figsize=(8, 5.5), layout='constrained')
    axes = figure.add_subplot(
        xscale='log',
        yscale='log',
        xlabel='image area (pixels)',
        ylabel='time per image (ms)',
        title=title,
    )
    names = list(dict.fromkeys(row['config'] for row in rows))
    batch_sizes = sorted({row['batch_size'] for row in rows})
    for name in names:
        for batch_size in batch_sizes:
            points = sorted(
                (row['size'][0] * row['size'][1], 1e3 / row['images_per_s'])
                for row in rows
                if (row['config'], row['batch_size']) == (name, batch_size)
                and not row['out_of_memory']
            )
            if not points:
                continue
            areas, times = zip(*points, strict=True)
            exponent = fitted_exponent(areas, times)
            label = f'{name}, batch {batch_size}' if len(batch_sizes) > 1 else name
            axes.plot(
                areas,
                times,
                color=f'C{names.index(name)}',
                marker='os^Dv'[batch_sizes.index(batch_size) % 5],
                linestyle=('-', '--', ':', '-.')[batch_sizes.index(batch_size) % 4],
                label=label if exponent is None else f'{label}: time ~ area^{exponent:.2f}',
            )
    axes.grid(which='both', alpha=0.3)
    axes.legend(fontsize='small')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    torch.backends.cudnn.benchmark = True
    args = parse_args()
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
        draw(rows, title, args.plot)
        print(f'Plot: {Path(args.plot).resolve()}')


if __name__ == '__main__':
    with plain_errors():
        main()
