"""Export a checkpoint as one file for other programs.

The file takes RGB images in 0..255 and yields finished maps: resizing, normalisation, padding and
decoding are part of it, and what the numbers mean is stored in it. It is run beside PyTorch's
model, and kept only if the two agree. Of a file in int8 the difference from float32 is said.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import (
    add_cfg_options,
    add_overwrite,
    make_parser,
    run_command,
    whole_number,
)
from m2h_mm.cli.model_arguments import add_checkpoint_arguments, choose_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from m2h_mm.inference.deployed_model import DeployedModel
    from m2h_mm.inference.export import Runner

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
        '--int8',
        action='store_true',
        help='the convolutions outside of the heads compute in int8 (onnx)',
    )
    parser.add_argument(
        '--calibrate',
        nargs='+',
        metavar='FRAMES',
        help='with --int8: images, folders or globs of what the model is to see, at most 40 of '
        'them; they say which range each map has (40 procedural rooms)',
    )
    parser.add_argument(
        '--weight-bits',
        type=int,
        choices=[7, 8],
        help='with --int8: 7 for x86 processors without VNNI instructions, on which sums of 8-bit '
        'products may overflow (8)',
    )
    parser.add_argument(
        '--out', metavar='FILE', help='(beside the checkpoint, else in this folder)'
    )
    add_overwrite(parser)
    add_cfg_options(
        parser,
        "override values of the checkpoint's config, such as model.data_preprocessor.size=None: "
        'the network then sees images at the size of the file',
    )
    parser.add_argument(
        '--repeats',
        type=whole_number(1),
        default=10,
        metavar='N',
        help='timed calls of each (%(default)s)',
    )
    args = parser.parse_args(argv)
    for name in ('calibrate', 'weight_bits'):
        if getattr(args, name) and not args.int8:
            parser.error(f'--{name.replace("_", "-")}: has no effect without --int8')
    if args.int8 and (args.fp16 or args.format != 'onnx'):
        parser.error('--int8: only of --format onnx, and without --fp16')
    return args


def export_model(args: argparse.Namespace) -> None:
    from m2h_mm.inference.deployed_model import DeployedModel
    from m2h_mm.inference.export import (
        SUFFIXES,
        default_size,
        example,
        export,
        export_metadata,
        load,
        move_files,
    )
    from m2h_mm.inference.loading import load_model
    from m2h_mm.inference.quantise import calibration_frames, mean_differences, split_frames
    from m2h_mm.inference.shipped import SHIPPED, shipped_model
    from m2h_mm.system.outputs import require_free

    # Not beside the model that comes with the package.
    beside = Path(args.checkpoint or SHIPPED.name)
    stem = f'{beside.stem}_int8' if args.int8 else beside.stem
    path = Path(args.out or beside.with_name(f'{stem}{SUFFIXES[args.format]}'))
    # ONNX puts the weights of a large model into a second file.
    files = [path, *([Path(f'{path}.data')] if args.format == 'onnx' else [])]
    require_free(files, filter(None, [args.checkpoint, args.config]), args.overwrite)
    checkpoint = choose_checkpoint(args.checkpoint) if args.checkpoint else shipped_model()
    model, description = load_model(checkpoint, args.config, args.cfg_options)
    deployed = DeployedModel(model, args.tasks, args.raw, args.fp16, args.dynamic).eval()
    reference = deployed
    if args.fp16:
        # The other model was changed to float16.
        exact, _ = load_model(checkpoint, args.config, args.cfg_options)
        reference = DeployedModel(exact, args.tasks, args.raw, dynamic=args.dynamic).eval()
    size = tuple(args.size or default_size(deployed))
    step = model.pipeline.size_divisor
    sizes = [size, (size[0] + step, size[1] + 3 * step)] if args.dynamic else [size]
    frames = calibration_frames(args.calibrate, size) if args.int8 else []
    runs: dict[str, Runner] = {'PyTorch': reference}
    path.parent.mkdir(parents=True, exist_ok=True)
    # What is found to be wrong never stands where the file is looked for.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix='.unchecked-') as folder:
        unchecked = Path(folder) / path.name
        export(deployed, unchecked, args.format, size, description.classes)
        worst = compare(reference, unchecked, args.format, sizes, args.fp16)
        if args.int8:
            runs['float32'] = load(unchecked, args.format)
            calibrating, held_out = split_frames(frames)
            quantise_in_place(unchecked, calibrating, args.weight_bits or 8)
        move_files(folder, path.parent)
    outputs = export_metadata(deployed, size)['outputs']
    runs['exported'] = load(path, args.format)
    if args.int8:
        found = mean_differences(runs['exported'], runs['float32'], held_out, outputs)
        said = [f'{value:.2f} {unit}' for value, unit in found.values()]
        print_table(path, 'mean difference', outputs, said)
        print(
            f'Mean differences from float32 over frames that it was compared on: {len(held_out)}.'
        )
    else:
        print_table(path, 'largest difference', outputs, shown(worst, outputs))
    print_times(runs, example(size), args.repeats)


def quantise_in_place(path: Path, frames: Sequence[Tensor], weight_bits: int) -> None:
    """Put the int8 form of an ONNX file into its place."""
    from m2h_mm.inference.export import move_files
    from m2h_mm.inference.quantise import quantise

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        quantise(path, Path(folder) / path.name, frames, weight_bits)
        Path(f'{path}.data').unlink(missing_ok=True)
        move_files(folder, path.parent)


def print_times(runs: Mapping[str, Runner], image: Tensor, repeats: int) -> None:
    """Milliseconds of each, measured in turn, and the ratio of each to the one before it."""
    import numpy as np
    import torch

    from m2h_mm.experiments.timing import time_calls

    with torch.no_grad():
        times = time_calls({name: partial(run, image) for name, run in runs.items()}, repeats)
    said = [f'{name} {1000 * float(np.median(values)):.1f} ms' for name, values in times.items()]
    for before, after in pairwise(times):
        ratio = float(np.median(np.divide(times[after], times[before])))
        said.append(f'ratio {after} / {before} {ratio:.2f}')
    height, width = image.shape[-2:]
    print(
        f'{height}x{width}, CPU, {torch.get_num_threads()} threads: {", ".join(said)} (medians of '
        f'{repeats} calls in turn)'
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


def shown(worst: Mapping[str, float], outputs: Mapping[str, dict]) -> list[str]:
    return [
        f'{100 * value:.3f} % of pixels' if 'class' in outputs[name]['meaning'] else f'{value:.1e}'
        for name, value in worst.items()
    ]


def print_table(
    path: Path, column: str, outputs: Mapping[str, dict], differences: Sequence[str]
) -> None:
    """What the file yields, and how far that is from what it was made of."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f'{path}, {path.stat().st_size / 2**20:.1f} MiB')
    table.add_column('task')
    table.add_column('means')
    table.add_column(column, justify='right')
    for (name, output), difference in zip(outputs.items(), differences, strict=True):
        table.add_row(name, output['meaning'], difference)
    Console().print(table)
