"""Convert the official download of a data set into the one layout that all are read in.

It works in parallel, and goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from m2h_mm.cli.command import make_parser, run_command, whole_number

# As in the converters and in m2h_mm.geometry.normal_convention, whose import takes longer than
# --help may. A test compares them.
NYUD_CROPS = {'full': '480x640', 'toolkit': '427x561', 'eigen': '426x560', 'mt': '425x560'}
NYUD_DEPTHS = ('filled', 'raw')
HYPERSIM_SPLITS = ('train', 'val', 'test')
CONVENTIONS = ('nyud-mt', 'refinenet', 'ladicky', 'geonet')
OURS = 'x,y,z'


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm convert-data DATASET SRC``; returns the exit status."""
    args = parse_args(argv)
    return run_command(args.convert, args)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('convert-data', __doc__)
    datasets = parser.add_subparsers(title='data sets', metavar='DATASET', required=True)
    for add in (add_nyud, add_hypersim, add_cityscapes, add_pascal):
        add(datasets)
    return parser.parse_args(argv)


def _add(
    datasets, name: str, title: str, convert: Callable[[argparse.Namespace], None], out_dir: str
) -> argparse.ArgumentParser:
    """The parser of one data set, with what all converters have."""
    parser = datasets.add_parser(name, help=title, description=f'Convert {title}.')
    parser.set_defaults(convert=convert)
    parser.add_argument(
        '--out-dir', default=out_dir, help='where the converted data set goes (%(default)s)'
    )
    parser.add_argument(
        '--num-workers',
        type=whole_number(0),
        metavar='N',
        help='processes; 0 works in this one (one per available core)',
    )
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='if frames cannot be converted, list the others in gt_sets and end well',
    )
    return parser


def add_nyud(datasets) -> None:
    parser = _add(datasets, 'nyud', 'NYU Depth v2', convert_nyud, 'data/NYUDv2')
    parser.add_argument(
        'src',
        type=Path,
        help='folder with nyu_depth_v2_labeled.mat, splits.mat and classMapping40.mat',
    )
    parser.add_argument(
        '--crop',
        choices=NYUD_CROPS,
        default='mt',
        help=', '.join(f'{name} {size}' for name, size in NYUD_CROPS.items()) + ' (%(default)s)',
    )
    parser.add_argument(
        '--classes', type=int, choices=(40, 13), default=40, help='of segmentation (%(default)s)'
    )
    parser.add_argument(
        '--depth',
        choices=NYUD_DEPTHS,
        default='filled',
        help='in-painted by the tool kit, or as measured, with holes (%(default)s)',
    )
    parser.add_argument(
        '--normals-dir',
        type=Path,
        metavar='DIR',
        help='files of normals, named by the number of the frame (normals are fitted to the raw '
        'depth)',
    )
    parser.add_argument(
        '--normals-convention',
        metavar='NAME',
        help=f'what is in --normals-dir: {", ".join(CONVENTIONS)}, or what the channels hold in '
        'terms of x right, y up, z toward the camera, such as x,-z,y',
    )


def convert_nyud(args: argparse.Namespace) -> None:
    from m2h_mm.datasets.converters.nyud import convert_nyud

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


def add_hypersim(datasets) -> None:
    parser = _add(datasets, 'hypersim', 'Hypersim', convert_hypersim, 'data/Hypersim')
    parser.add_argument('src', type=Path, help='folder of the scenes, ai_VVV_NNN')
    parser.add_argument(
        '--split-csv',
        type=Path,
        help='the official split (SRC/metadata_images_split_scene_v1.csv)',
    )
    parser.add_argument(
        '--camera-csv',
        type=Path,
        help='the official cameras (SRC/metadata_camera_parameters.csv)',
    )
    parser.add_argument(
        '--splits',
        nargs='+',
        choices=HYPERSIM_SPLITS,
        default=HYPERSIM_SPLITS,
        help='only these (all)',
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
        help='depth along the axis of the image plane, and normals in its frame, where the lens '
        'is tilted: every frame then has intrinsics',
    )


def convert_hypersim(args: argparse.Namespace) -> None:
    from m2h_mm.datasets.converters.hypersim import convert_frame, list_frames
    from m2h_mm.datasets.converters.job import convert_frames

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


def add_cityscapes(datasets) -> None:
    parser = _add(datasets, 'cityscapes', 'Cityscapes', convert_cityscapes, 'data/CityscapesMT')
    parser.add_argument(
        'src', type=Path, help='folder with leftImg8bit, gtFine, disparity and camera'
    )
    parser.add_argument(
        '--size',
        type=whole_number(1),
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


def convert_cityscapes(args: argparse.Namespace) -> None:
    from m2h_mm.datasets.converters.cityscapes import convert_cityscapes
    from m2h_mm.datasets.transforms.frame import check_pair

    convert_cityscapes(
        args.src,
        args.out_dir,
        check_pair(args.size, '--size'),
        args.classes,
        args.num_workers,
        args.allow_missing,
    )


def add_pascal(datasets) -> None:
    parser = _add(
        datasets,
        'pascal_context',
        'the multi-task release of PASCAL-Context',
        convert_pascal,
        'data/PASCALContext',
    )
    parser.add_argument('src', help='the unpacked release: the folder that holds JPEGImages')
    parser.add_argument(
        '--normals-convention',
        default=OURS,
        metavar='AXES',
        help='what red, green and blue of the normals hold, if not x right, y up, z toward the '
        f'camera: {", ".join(CONVENTIONS)}, or axes such as x,-y,-z (%(default)s)',
    )
    parser.add_argument(
        '--normals-of-every-class',
        action='store_true',
        help='keep normals also on classes that NYUD, on which they were learned, does not have',
    )


def convert_pascal(args: argparse.Namespace) -> None:
    from m2h_mm.datasets.converters.pascal_context import convert_pascal_context

    convert_pascal_context(
        args.src,
        args.out_dir,
        args.normals_convention,
        args.normals_of_every_class,
        args.num_workers,
        args.allow_missing,
    )
