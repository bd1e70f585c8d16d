"""Draw frames with all their labels, as training sees them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_cfg_options, add_overwrite, make_parser, run_command

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.dataset import BaseDataset


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm browse CONFIG``; returns the exit status."""
    return run_command(browse, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('browse', __doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--split', choices=['train', 'val'], default='train', help='data set to draw (%(default)s)'
    )
    parser.add_argument(
        '--num',
        type=int,
        default=10,
        metavar='N',
        help='frames, spread evenly over the data set or the sequence (%(default)s)',
    )
    parser.add_argument(
        '--sequence',
        metavar='NAME',
        help='of a data set of sequences, the frames of this one, in order',
    )
    parser.add_argument(
        '--out-dir', default='work_dirs/browse', metavar='DIR', help='where to (%(default)s)'
    )
    parser.add_argument(
        '--no-augment',
        action='store_true',
        help='read training frames as validation does; else every run augments them anew',
    )
    add_overwrite(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if args.no_augment and args.split == 'val':
        parser.error('--no-augment has no effect on --split val, which is never augmented')
    if args.num < 1:
        parser.error(f'--num: expected 1 or more frames, got {args.num}')
    return args


def browse(args: argparse.Namespace) -> None:
    from rich.progress import track

    from m2h_mm.datasets.read_folders import read_folders
    from m2h_mm.engine.config import load_config
    from m2h_mm.system.outputs import require_free
    from m2h_mm.tasks import build_tasks
    from m2h_mm.tasks.view import names_of_classes
    from m2h_mm.visualization import (
        MultiTaskVisualizer,
        input_image,
        save_picture,
        spread,
    )

    cfg = load_config(args.config, args.cfg_options)
    dataset = build_dataset(cfg, args.split, augment=not args.no_augment)
    tasks = build_tasks(cfg.tasks)
    classes = names_of_classes(tasks, dataset.metainfo.get('classes') or ())
    visualizer = MultiTaskVisualizer()
    out_dir = Path(args.out_dir).resolve()
    # A data set of somebody's own may know nothing of a frame before it is read.
    known = getattr(dataset, 'get_data_info', lambda index: {})
    frames = range(len(dataset))
    if args.sequence is not None:
        frames = frames_of_sequence([known(index) for index in frames], args.sequence)
    chosen = [frames[position] for position in spread(len(frames), args.num)]
    infos = {index: known(index) for index in chosen}
    paths = {
        index: out_dir / f'{info.get("frame_id", f"{index:06d}")}.png'
        for index, info in infos.items()
    }
    folders = read_folders(dataset, list(infos.values()))
    require_free(paths.values(), [args.config, *folders], args.overwrite)
    for index, path in track(paths.items(), description='Drawing'):
        packed = dataset[index]
        sample = packed['data_samples']
        picture = visualizer.draw_frame(input_image(packed['inputs']), sample, tasks, classes)
        save_picture(picture, path)
    print(f'{len(chosen)} of {len(frames)} {args.split} frames: {out_dir}')


def frames_of_sequence(infos: Sequence[dict], name: str) -> list[int]:
    """Indices of the frames of a sequence, in order.

    Args:
        infos: of all frames.
        name: of the sequence.

    Raises:
        ValueError: there is no such sequence.
    """
    from m2h_mm.system.spelling import did_you_mean

    names = list(dict.fromkeys(info['sequence'] for info in infos if 'sequence' in info))
    if name not in names:
        there = f'{len(names)}, such as {names[0]!r}' if names else 'none'
        raise ValueError(
            f'--sequence {name!r}: the data set has no such sequence. Those that it has: {there}.'
            + did_you_mean(name, names)
        )
    return [index for index, info in enumerate(infos) if info.get('sequence') == name]


def build_dataset(cfg: Config, split: str, augment: bool) -> BaseDataset:
    """The data set of a config's dataloader, with its pipeline or with that of validation.

    Raises:
        ValueError: without augmentation, a data set that has no pipeline of its own.
    """
    from m2h_mm.registry import DATASETS

    dataset = cfg[f'{split}_dataloader'].dataset
    if not augment:
        if 'pipeline' not in dataset or 'pipeline' not in cfg.val_dataloader.dataset:
            raise ValueError(
                f'--no-augment: {split}_dataloader.dataset ({dataset.type}) or that of '
                'val_dataloader has no pipeline of its own. Leave the flag out, or name a config '
                'with a plain data set.'
            )
        dataset = dict(dataset, pipeline=cfg.val_dataloader.dataset.pipeline)
    return DATASETS.build(dataset)
