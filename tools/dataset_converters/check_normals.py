"""Find the convention of a data set's normals: ``python tools/dataset_converters/check_normals.py
ROOT``.

All 48 ways in which three channels can hold x, y and z with either sign are compared with the
normals of the depth. Ends with status 1 unless x right, y up, z toward the camera fits best.
"""

import argparse
from pathlib import Path

from mmengine.dataset import BaseDataset
from rich.console import Console
from rich.progress import track
from rich.table import Table

from m2h_mm.cli.common import plain_errors
from m2h_mm.datasets.normals_check import DEPTH, NORMALS, measure_agreement
from m2h_mm.engine.config import dataset_names, read_dataset_config
from m2h_mm.geometry.normal_convention import CONVENTIONS, MIN_VECTORS, OURS, Agreement, to_ours
from m2h_mm.registry import DATASETS
from m2h_mm.tasks import Normals

ROWS = 5


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', type=Path, help='folder of the data set, in the layout of NYUD-MT')
    parser.add_argument(
        '--dataset',
        default='nyud',
        metavar='NAME',
        help='how it is read, which also gives the cameras that are not in '
        'cameras.json: one of '
        f'{", ".join(dataset_names())} (%(default)s)',
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
    args = parser.parse_args()
    if args.num_frames < 1:
        parser.error(f'--num-frames: expected 1 or more, got {args.num_frames}')
    return args


def build_dataset(args: argparse.Namespace) -> BaseDataset:
    cfg = read_dataset_config(
        args.dataset, None, {}, str(args.root), args.split
    ).test_dataloader.dataset
    return DATASETS.build(dict(cfg, tasks=(DEPTH, NORMALS), pipeline=[], check_normals=False))


def print_table(agreement: Agreement, num_frames: int) -> None:
    names = {axes: name for name, axes in CONVENTIONS.items()}
    table = Table(
        title='Normals against depth',
        caption=f'{agreement.vectors} plane fits in {num_frames} frames at most; x '
        'right, y up, z toward the '
        'camera',
    )
    table.add_column('channels hold')
    table.add_column('known as')
    table.add_column('median angle', justify='right')
    shown = list(agreement.medians.items())
    for axes, angle in shown[:ROWS] + [item for item in shown[ROWS:] if item[0] == OURS]:
        table.add_row(
            axes, names.get(axes, ''), f'{angle:.1f}°', style='bold' if axes == OURS else None
        )
    Console().print(table)


def rewrite(dataset: BaseDataset, axes: str, folder: Path) -> None:
    """Write the normals of all frames in our convention, 8-bit."""
    task = Normals()
    paths = [
        Path(info['label_paths'][NORMALS])
        for info in map(dataset.get_data_info, range(len(dataset)))
        if NORMALS in info['label_paths']
    ]
    if any(path.parent.resolve() == folder.resolve() for path in paths):
        raise ValueError(
            f'--rewrite: {folder} holds the normals themselves. Choose another folder.'
        )
    for path in track(paths, description='Rewriting'):
        task.write_prediction(to_ours(task.read(path), axes), folder / f'{path.stem}.png')
    print(f'{len(paths)} files, from {axes} to {OURS}: {folder.resolve()}')


def main() -> None:
    args = parse_args()
    dataset = build_dataset(args)
    frames = [dataset.get_data_info(index) for index in range(len(dataset))]
    agreement = measure_agreement(frames, dataset.tasks, args.num_frames)
    if agreement is None or agreement.vectors < MIN_VECTORS:
        raise ValueError(
            f'{args.root}: {agreement.vectors if agreement else 0} places with depth, '
            'normals and a '
            f'camera; expected {MIN_VECTORS} or more. Name another --split, or more '
            '--num-frames.'
        )
    print_table(agreement, args.num_frames)
    if args.rewrite:
        rewrite(dataset, agreement.best, args.rewrite)
    elif agreement.best != OURS:
        clearly = (
            'Clearly'
            if agreement.is_clearly_other
            else 'Not clearly, these frames hardly tell them apart, but'
        )
        print(
            f'{clearly} not {OURS}: the channels hold {agreement.best}. --rewrite DIR writes the '
            f'normals as {OURS}.'
        )
        raise SystemExit(1)


if __name__ == '__main__':
    with plain_errors():
        main()
