"""Convert NYU Depth v2: ``python tools/dataset_converters/nyud.py SRC``."""

import argparse
from pathlib import Path

from m2h_mm.cli.common import plain_errors
from m2h_mm.datasets.converters.job import add_arguments
from m2h_mm.datasets.converters.nyud import ARCHIVE, CLASSES, CROPS, DEPTHS, SPLITS, convert_nyud
from m2h_mm.geometry.normal_convention import CONVENTIONS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', type=Path, help=f'folder with {ARCHIVE}, {SPLITS} and {CLASSES}')
    parser.add_argument(
        '--crop',
        choices=CROPS,
        default='mt',
        help=', '.join(f'{name} {height}x{width}' for name, (height, width) in CROPS.items())
        + ' (%(default)s)',
    )
    parser.add_argument(
        '--classes', type=int, choices=(40, 13), default=40, help='of segmentation (%(default)s)'
    )
    parser.add_argument(
        '--depth',
        choices=DEPTHS,
        default='filled',
        help='in-painted by the tool kit, or as measured, with holes (%(default)s)',
    )
    parser.add_argument(
        '--normals-dir',
        type=Path,
        metavar='DIR',
        help='files of normals, named by the number of the frame (normals are '
        'fitted to the raw depth)',
    )
    parser.add_argument(
        '--normals-convention',
        metavar='NAME',
        help=f'what is in --normals-dir: {", ".join(CONVENTIONS)}, or what the '
        'channels hold in terms '
        'of x right, y up, z toward the camera, such as x,-z,y',
    )
    add_arguments(parser, 'data/NYUDv2')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    convert_nyud(
        args.src,
        args.out_dir,
        crop=args.crop,
        num_classes=args.classes,
        depth=args.depth,
        normals_dir=args.normals_dir,
        normals_convention=args.normals_convention,
        num_workers=args.num_workers,
        allow_missing=args.allow_missing,
    )


if __name__ == '__main__':
    with plain_errors():
        main()
