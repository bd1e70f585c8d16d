"""Convert Hypersim: ``python tools/dataset_converters/hypersim.py SRC``."""

import argparse
from pathlib import Path

from m2h_mm.cli.common import plain_errors
from m2h_mm.datasets.converters.hypersim import (
    CAMERA_CSV,
    SPLIT_CSV,
    SPLITS,
    convert_frame,
    list_frames,
)
from m2h_mm.datasets.converters.job import add_arguments, convert_frames


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', type=Path, help='folder of the scenes, ai_VVV_NNN')
    parser.add_argument('--split-csv', type=Path, help=f'the official split (SRC/{SPLIT_CSV})')
    parser.add_argument('--camera-csv', type=Path, help=f'the official cameras (SRC/{CAMERA_CSV})')
    parser.add_argument(
        '--splits', nargs='+', choices=SPLITS, default=SPLITS, help='only these (all)'
    )
    parser.add_argument(
        '--scenes',
        nargs='+',
        default=['*'],
        metavar='NAME',
        help='only these: names, patterns (all)',
    )
    parser.add_argument(
        '--untilt',
        action='store_true',
        help='depth along the axis of the image plane, and normals in its frame, '
        'where the lens is '
        'tilted: every frame then has intrinsics',
    )
    add_arguments(parser, 'data/Hypersim')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    frames = list_frames(
        args.src, args.split_csv, args.camera_csv, args.splits, args.scenes, args.untilt
    )
    convert_frames(
        frames,
        convert_frame,
        args.out_dir,
        args.src,
        dict(dataset='hypersim', untilt=args.untilt),
        args.num_workers,
        args.allow_missing,
    )


if __name__ == '__main__':
    with plain_errors():
        main()
