"""Find the convention of the normals of a data set.

All 48 ways in which three channels can hold x, y and z with either sign are compared with the
normals of the depth. Ends with status 1 unless x right, y up, z toward the camera fits best.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import (
    add_label_format,
    add_overwrite,
    make_parser,
    run_command,
    state_label_formats,
)
from m2h_mm.engine.config_files import dataset_names

if TYPE_CHECKING:
    from mmengine.dataset import BaseDataset

    from m2h_mm.geometry.normal_convention import Agreement
    from m2h_mm.tasks import Task

ROWS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm check-normals ROOT``; returns the exit status."""
    return run_command(check_normals, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('check-normals', __doc__)
    parser.add_argument('root', type=Path, help='folder of the data set, in the layout of NYUD-MT')
    parser.add_argument(
        '--dataset',
        choices=dataset_names(),
        default='nyud',
        help='how it is read, which also gives the cameras that are not in cameras.json '
        '(%(default)s)',
    )
    parser.add_argument('--split', default='train', help='list of frames (%(default)s)')
    parser.add_argument(
        '--num-frames',
        type=int,
        default=20,
        metavar='N',
        help='frames to look at, spread over the split (%(default)s)',
    )
    parser.add_argument(
        '--rewrite',
        type=Path,
        metavar='DIR',
        help="write the split's normals to this folder, from the convention that fits best to ours",
    )
    add_label_format(parser)
    add_overwrite(parser)
    args = parser.parse_args(argv)
    if args.num_frames < 1:
        parser.error(f'--num-frames: expected 1 or more, got {args.num_frames}')
    return args


def check_normals(args: argparse.Namespace) -> int:
    """Status 1 if another convention fits best and nothing is rewritten."""
    from m2h_mm.datasets.normals_check import NORMALS, measure_agreement
    from m2h_mm.geometry.normal_convention import MIN_VECTORS, OURS, compose, parse_axes

    dataset = build_dataset(args)
    frames = [dataset.get_data_info(index) for index in range(len(dataset))]
    rewritten = plan_rewriting(dataset, frames, args) if args.rewrite else {}
    agreement = measure_agreement(frames, dataset.tasks, args.num_frames)
    if agreement is None or agreement.vectors < MIN_VECTORS:
        raise ValueError(
            f'{args.root}: {agreement.vectors if agreement else 0} places with depth, normals '
            f'and a camera; expected {MIN_VECTORS} or more. Name another --split, or more '
            '--num-frames.'
        )
    task = dataset.tasks[NORMALS]
    stated = parse_axes(task.label_format.convention)
    print_table(agreement, stated, args.num_frames)
    if agreement.is_of_something_else:
        raise ValueError(
            f'No convention fits: {agreement.best} is {agreement.medians[agreement.best]:.0f} '
            'degrees off. Are the normals in axes of the world instead of the camera, in another '
            f'encoding ({task.to_state("range")}), or is the camera wrong?'
        )
    if args.rewrite:
        rewrite(task, agreement.best, rewritten)
        print(f'{len(rewritten)} files, from {agreement.best} to {OURS}: {args.rewrite.resolve()}')
        return 0
    if agreement.best == OURS:
        return 0
    clearly = (
        'Clearly'
        if agreement.is_clearly_other
        else 'Not clearly, these frames hardly tell them apart, but'
    )
    axes = compose(stated, agreement.best)
    print(
        f'{clearly} not {OURS}: the channels hold {axes}. '
        f'{task.to_state("convention", axes)} reads them so; --rewrite DIR writes the normals as '
        f'{OURS}.'
    )
    return 1


def build_dataset(args: argparse.Namespace) -> BaseDataset:
    """The frames with depth and normals, without a check of their convention."""
    from m2h_mm.datasets.normals_check import DEPTH, NORMALS
    from m2h_mm.engine.config import read_dataset_config
    from m2h_mm.registry import DATASETS

    cfg = read_dataset_config(
        args.dataset, None, {}, str(args.root), args.split
    ).test_dataloader.dataset
    state_label_formats(cfg, args.label_format)
    return DATASETS.build(dict(cfg, tasks=(DEPTH, NORMALS), pipeline=[], check_normals=False))


def print_table(agreement: Agreement, stated: str, num_frames: int) -> None:
    """The conventions that fit best, and in bold the one in which the files were read."""
    from rich.console import Console
    from rich.table import Table

    from m2h_mm.geometry.normal_convention import CONVENTIONS, OURS, compose

    names = {axes: name for name, axes in CONVENTIONS.items()}
    table = Table(
        title='Normals against depth',
        caption=f'{agreement.vectors} plane fits in {num_frames} frames at most; x right, y up, z '
        'toward the camera',
    )
    table.add_column('channels hold')
    table.add_column('known as')
    table.add_column('median angle', justify='right')
    shown = list(agreement.medians.items())
    for axes, angle in shown[:ROWS] + [item for item in shown[ROWS:] if item[0] == OURS]:
        held = compose(stated, axes)
        table.add_row(
            held, names.get(held, ''), f'{angle:.1f}°', style='bold' if axes == OURS else None
        )
    Console().print(table)


def plan_rewriting(
    dataset: BaseDataset, frames: Sequence[dict], args: argparse.Namespace
) -> dict[Path, Path]:
    """The file of a frame's normals to the one that they are written to.

    Raises:
        FileExistsError, ValueError: see :func:`~m2h_mm.system.outputs.require_free`.
    """
    from m2h_mm.datasets.normals_check import NORMALS
    from m2h_mm.datasets.read_folders import read_folders
    from m2h_mm.system.outputs import require_free

    files = {
        Path(frame['label_paths'][NORMALS]): args.rewrite / f'{frame["frame_id"]}.png'
        for frame in frames
        if NORMALS in frame['label_paths']
    }
    require_free(files.values(), read_folders(dataset, frames), args.overwrite)
    return files


def rewrite(task: Task, axes: str, files: Mapping[Path, Path]) -> None:
    """Write normals in our convention, 8-bit."""
    from rich.progress import track

    from m2h_mm.geometry.normal_convention import to_ours

    for source, path in track(files.items(), description='Rewriting'):
        task.write_prediction(to_ours(task.read(source).value, axes), path)
