"""Predict the maps of images.

INPUT is an image, a folder or a glob. DIR gets a picture of all tasks per image in pictures/, and
the maps in a folder per task: depth/<name>.npy in metres, normals/<name>.npy, semseg/<name>.png,
edge/<name>.png. <name> is the path of an image below the folder, without its suffix.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from m2h_mm.cli.command import add_overwrite, make_parser, run_command, whole_number
from m2h_mm.cli.model_arguments import add_model_arguments, add_stabilise, build_inferencer


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm predict INPUT [CHECKPOINT]``; returns the exit status."""
    return run_command(predict, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('predict', __doc__)
    parser.add_argument('input', help='an image, a folder of images, or a glob')
    add_model_arguments(parser)
    parser.add_argument(
        '--out-dir', default='results', metavar='DIR', help='for pictures and maps (%(default)s)'
    )
    parser.add_argument(
        '--batch-size',
        type=whole_number(1),
        default=1,
        metavar='N',
        help='images at a time (%(default)s)',
    )
    add_stabilise(parser)
    add_overwrite(parser)
    return parser.parse_args(argv)


def predict(args: argparse.Namespace) -> int:
    """Status 1 if an image could not be read."""
    inferencer = build_inferencer(args, stabilise=args.stabilise)
    failed = inferencer(
        args.input,
        args.tasks,
        args.size,
        args.dtype,
        args.batch_size,
        args.out_dir,
        overwrite=args.overwrite,
    )['failed']
    print(f'Pictures: {Path(args.out_dir, "pictures")}; maps: {Path(args.out_dir, "<task>")}')
    if failed:
        lines = [f'  {name}: {reason}' for name, reason in failed.items()]
        print('\n'.join([f'{len(failed)} images failed:', *lines]), file=sys.stderr)
    return 1 if failed else 0
