"""Export a checkpoint as one file for other programs.

The file takes RGB images in 0..255 and yields finished maps: resizing, normalisation, padding and
decoding are part of it, and what the numbers mean is stored in it. It is run beside PyTorch's
model, and kept only if the two agree.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_overwrite, make_parser, run_command, whole_number
from m2h_mm.cli.model_arguments import add_checkpoint_arguments

if TYPE_CHECKING:
    from m2h_mm.inference.deployed_model import DeployedModel

# As in m2h_mm.inference.export, which takes seconds to be imported; a test compares them.
FORMATS = ('onnx', 'torch-export', 'torchscript')
TOLERANCE = 1e-4


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm export [CHECKPOINT]``; returns the exit status."""
    return run_command(export_model, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('export', __doc__)
    add_checkpoint_arguments(parser)
    parser.add_argument('--format', choices=FORMATS, default='onnx', help='(%(default)s)')
    parser.add_argument(
        '--size',
        nargs=2,
        type=whole_number(1),
        metavar=('HEIGHT', 'WIDTH'),
        help='of the images, in pixels: the file resizes them to what the network sees (what it '
        'was trained on)',
    )
    parser.add_argument(
        '--dynamic',
        action='store_true',
        help="any number of images, sides any multiples of the model's stride; resizing is then "
        'left to the program that runs the file (onnx, torch-export)',
    )
    parser.add_argument('--tasks', nargs='+', metavar='TASK', help='these alone (all)')
    parser.add_argument(
        '--raw',
        action='store_true',
        help="yield the heads' outputs at their own resolution instead",
    )
    parser.add_argument('--fp16', action='store_true', help='the network computes in float16')
    parser.add_argument(
        '--out', metavar='FILE', help='(beside the checkpoint, else in this folder)'
    )
    add_overwrite(parser)
    parser.add_argument(
        '--repeats',
        type=whole_number(1),
        default=10,
        metavar='N',
        help='timed calls of each (%(default)s)',
    )
    return parser.parse_args(argv)


def export_model(args: argparse.Namespace) -> None:
    import numpy as np
    import torch

    from m2h_mm.experiments.timing import time_calls
    from m2h_mm.inference.deployed_model import DeployedModel
    from m2h_mm.inference.export import SUFFIXES, default_size, example, export, load, move_files
    from m2h_mm.inference.loading import load_model
    from m2h_mm.inference.shipped import SHIPPED, shipped_model
    from m2h_mm.system.outputs import require_free

    # Not beside the model that comes with the package.
    beside = Path(args.checkpoint or SHIPPED.name)
    path = Path(args.out or beside.with_suffix(SUFFIXES[args.format]))
    # ONNX puts the weights of a large model into a second file.
    files = [path, *([Path(f'{path}.data')] if args.format == 'onnx' else [])]
    require_free(files, filter(None, [args.checkpoint, args.config]), args.overwrite)
    checkpoint = args.checkpoint or shipped_model()
    model, description = load_model(checkpoint, args.config)
    deployed = DeployedModel(model, args.tasks, args.raw, args.fp16, args.dynamic).eval()
    reference = deployed
    if args.fp16:
        # The other model was changed to float16.
        exact, _ = load_model(checkpoint, args.config)
        reference = DeployedModel(exact, args.tasks, args.raw, dynamic=args.dynamic).eval()
    size = tuple(args.size or default_size(deployed))
    step = model.pipeline.size_divisor
    sizes = [size, (size[0] + step, size[1] + 3 * step)] if args.dynamic else [size]
    path.parent.mkdir(parents=True, exist_ok=True)
    # What is found to be wrong never stands where the file is looked for.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.unchecked-') as folder:
        unchecked = Path(folder) / path.name
        export(deployed, unchecked, args.format, size, description.classes)
        worst = compare(reference, unchecked, args.format, sizes, args.fp16)
        move_files(folder, path.parent)
    print_differences(path, deployed, size, worst)
    run, image = load(path, args.format), example(size)
    with torch.no_grad():
        times = time_calls(
            {'PyTorch': lambda: reference(image), 'exported': lambda: run(image)}, args.repeats
        )
    medians = {name: 1000 * float(np.median(values)) for name, values in times.items()}
    ratio = float(np.median(np.divide(times['exported'], times['PyTorch'])))
    print(
        f'{size[0]}x{size[1]}, CPU, {torch.get_num_threads()} threads: PyTorch '
        f'{medians["PyTorch"]:.1f} ms, exported {medians["exported"]:.1f} ms, ratio {ratio:.2f} '
        f'(medians of {args.repeats} calls in turn)'
    )


def compare(
    deployed: DeployedModel, path: Path, format: str, sizes: list[tuple[int, int]], half: bool
) -> dict[str, float]:
    """The largest difference per task over ``sizes``; of class ids, the share of pixels.

    Raises:
        ValueError: in float32, a difference above 1e-4.
    """
    from m2h_mm.inference.export import differences, example, load

    run = load(path, format)
    worst: dict[str, float] = {}
    for index, size in enumerate(sizes):
        found = differences(run, deployed, example(size, 1 + index), deployed.names)
        worst = {name: max(worst.get(name, 0.0), value) for name, value in found.items()}
    # "Not at most" and not "more than": NaN is wrong too.
    wrong = {name: value for name, value in worst.items() if not value <= TOLERANCE}
    if wrong and not half:
        raise ValueError(
            f'The exported model differs from PyTorch by {wrong}, more than {TOLERANCE}: nothing '
            'was written. Try another --format or --size.'
        )
    return worst


def print_differences(
    path: Path, deployed: DeployedModel, size: tuple[int, int], worst: Mapping[str, float]
) -> None:
    """What the file yields, and how far that is from PyTorch."""
    from rich.console import Console
    from rich.table import Table

    from m2h_mm.inference.export import export_metadata

    table = Table(title=f'{path}, {path.stat().st_size / 2**20:.1f} MiB')
    table.add_column('task')
    table.add_column('means')
    table.add_column('largest difference', justify='right')
    outputs = export_metadata(deployed, size)['outputs']
    for name, value in worst.items():
        meaning = outputs[name]['meaning']
        shown = f'{100 * value:.3f} % of pixels' if 'class' in meaning else f'{value:.1e}'
        table.add_row(name, meaning, shown)
    Console().print(table)
