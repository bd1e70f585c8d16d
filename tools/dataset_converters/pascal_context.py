"""Convert the multi-task release of PASCAL-Context: ``python
tools/dataset_converters/pascal_context.py ROOT``.
"""

import argparse

from m2h_mm.cli.common import plain_errors
from m2h_mm.datasets.converters.job import add_arguments
from m2h_mm.datasets.converters.pascal_context import convert_pascal_context
from m2h_mm.geometry.normal_convention import CONVENTIONS, OURS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', help='the unpacked release: the folder that holds JPEGImages')
    add_arguments(parser, 'data/PASCALContext')
    parser.add_argument(
        '--normals-convention',
        default=OURS,
        metavar='AXES',
        help='what red, green and blue of the normals hold, if not x right, y up, '
        'z toward the camera: '
        f'{", ".join(CONVENTIONS)}, or axes such as x,-y,-z (%(default)s)',
    )
    parser.add_argument(
        '--normals-of-every-class',
        action='store_true',
        help='keep normals also on classes that NYUD, on which they were learned, does not have',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    convert_pascal_context(
        args.root,
        args.out_dir,
        args.normals_convention,
        args.normals_of_every_class,
        args.num_workers,
        args.allow_missing,
    )


if __name__ == '__main__':
    with plain_errors():
        main()
