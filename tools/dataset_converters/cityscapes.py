"""Convert Cityscapes: ``python tools/dataset_converters/cityscapes.py SRC [--size H W] [--classes
7]``.
"""

import argparse
from pathlib import Path

from m2h_mm.cli.common import plain_errors
from m2h_mm.datasets.converters.cityscapes import convert_cityscapes
from m2h_mm.datasets.converters.job import add_arguments
from m2h_mm.datasets.transforms.frame import check_pair


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'src', type=Path, help='folder with leftImg8bit, gtFine, disparity and camera'
    )
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        default=(512, 1024),
        metavar=('H', 'W'),
        help='size of the converted frames, of which 1024 2048 is the full one (512 1024)',
    )
    parser.add_argument(
        '--classes',
        type=int,
        choices=(19, 7),
        default=19,
        help='the classes of the benchmark, or their seven categories (%(default)s)',
    )
    add_arguments(parser, 'data/CityscapesMT')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    convert_cityscapes(
        args.src,
        args.out_dir,
        check_pair(args.size, '--size'),
        args.classes,
        args.num_workers,
        args.allow_missing,
    )


if __name__ == '__main__':
    with plain_errors():
        main()
