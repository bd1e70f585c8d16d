"""Add the maps of its pictures to a recording of a robot.

IN is a bag of ROS 1 (FILE.bag) or of ROS 2 (its folder, or its file .db3 or .mcap). OUT, of the
same kind, gets all that IN holds and the maps of one of its cameras, each with stamp and frame of
its picture. ROS is not needed. Interrupted or killed, the same command goes on; until it is done,
what it has is in OUT.part.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_overwrite, make_parser, real_number, run_command, whole_number
from m2h_mm.cli.model_arguments import add_model_arguments, add_stabilise, build_inferencer
from m2h_mm.system.progress import progress_bar

if TYPE_CHECKING:
    from m2h_mm.inference.robots.bags import BagJob

INTERRUPTED = 130
MAPS = ('depth', 'depth_mm', 'labels', 'colour', 'overlay', 'normals', 'edges')


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm bag IN OUT [CHECKPOINT] --image-topic TOPIC``; returns the exit status."""
    return run_command(predict_bag, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('bag', __doc__)
    parser.add_argument('input', metavar='IN', help='the bag')
    parser.add_argument('output', metavar='OUT', help='the bag to write')
    add_model_arguments(parser, tasks=False)
    parser.add_argument(
        '--image-topic', metavar='TOPIC', help='raw or compressed pictures (the only ones)'
    )
    parser.add_argument(
        '--camera-info-topic', metavar='TOPIC', help='their camera (camera_info beside them)'
    )
    parser.add_argument(
        '--rectify',
        action='store_true',
        help='take the distortion of the lens out first; the rectified pictures are written too',
    )
    parser.add_argument(
        '--maps',
        nargs='+',
        choices=MAPS,
        metavar='MAP',
        help=f'{", ".join(MAPS)} (all but overlay)',
    )
    parser.add_argument(
        '--label-space', metavar='YAML', help='ids of another label space, such as that of Hydra'
    )
    parser.add_argument(
        '--colours', metavar='CSV', help='red, green, blue of each id (those of our pictures)'
    )
    parser.add_argument(
        '--depth-scale',
        type=real_number(0, math.inf),
        default=1.0,
        metavar='FACTOR',
        help='multiply depth by it (%(default)s)',
    )
    parser.add_argument(
        '--skip-frequency',
        type=whole_number(1),
        default=1,
        metavar='N',
        help='maps of every N-th picture only (%(default)s)',
    )
    add_stabilise(parser)
    parser.add_argument('--prefix', default='', help='in front of the names of all new topics')
    parser.add_argument(
        '--exclude-topics', nargs='+', default=[], metavar='TOPIC', help='do not copy these'
    )
    parser.add_argument(
        '--compression',
        choices=('none', 'lz4', 'bz2', 'zstd'),
        default='none',
        help='of OUT: lz4 or bz2 for ROS 1, zstd for ROS 2 (%(default)s)',
    )
    add_overwrite(parser)
    return parser.parse_args(argv)


def predict_bag(args: argparse.Namespace) -> int:
    """Status 1 if a picture could not be read, 130 if Ctrl-C ended it."""
    job = None
    done = 0
    try:
        job, inferencer = _prepare(args)
        with progress_bar('Pictures') as progress:
            bar = progress.add_task('', total=job.frames.total)
            for done in job.run(inferencer):
                progress.update(bar, completed=done)
    except KeyboardInterrupt:
        kept = f' The same command goes on with {job.folder}.' if job else ''
        print(f'Interrupted after {done} pictures: no bag was written.{kept}', file=sys.stderr)
        return INTERRUPTED
    _report(job, done)
    return 1 if job.failed else 0


def _prepare(args: argparse.Namespace) -> tuple:
    """What can be wrong with the bags is looked at before a model is loaded."""
    from pathlib import Path

    from m2h_mm.inference.robots.bag_frames import BagFrames
    from m2h_mm.inference.robots.bags import BagJob
    from m2h_mm.inference.robots.label_space import read_label_space, read_palette
    from m2h_mm.inference.robots.products import Space, choose_products
    from m2h_mm.system.outputs import require_free

    source, out = Path(args.input), Path(args.output)
    frames = BagFrames(
        source, args.image_topic, args.camera_info_topic, args.rectify, args.skip_frequency
    )
    read = filter(None, [args.checkpoint, args.config, args.label_space, args.colours])
    require_free([out] if not out.is_dir() else [], [source, *read], args.overwrite)
    inferencer = build_inferencer(args, stabilise=args.stabilise)
    space = Space(depth_scale=args.depth_scale)
    if args.label_space:
        space.ids = read_label_space(args.label_space, inferencer.classes.get('semseg', ()))
    if args.colours:
        space.colours = read_palette(args.colours)
    job = BagJob(
        frames,
        out,
        choose_products(args.maps, inferencer.tasks),
        space,
        args.prefix,
        args.exclude_topics,
        args.size,
        args.dtype,
        args.compression,
        args.overwrite,
    )
    return job, inferencer


def _report(job: BagJob, done: int) -> None:
    frames = job.frames
    if frames.camera_info_topic is None:
        print(
            'The bag does not say what camera it is of: no camera_info is added. Name its topic '
            'with --camera-info-topic, if there is one.'
        )
    for number, reason in list(job.failed.items())[:5]:
        print(f'Picture {number} of {frames.image_topic} has no maps: {reason}')
    if job.failed:
        print(f'{len(job.failed)} pictures failed.')
    print(f'{job.out}: maps of {done - len(job.failed)} pictures of {frames.image_topic}')
    for topic in job.topics:
        print(f'  {topic}')
