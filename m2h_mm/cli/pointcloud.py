"""Make a coloured point cloud of an image.

Depth becomes points in metres, x right, y up, z toward the camera; normals and colours go with
them. The camera is taken from --intrinsics, --fov, or the photo's own notes (EXIF), in this order;
without any of them the view is assumed to be 60 degrees wide, and everything is stretched along the
view if that is wrong.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_overwrite, make_parser, real_number, run_command
from m2h_mm.cli.model_arguments import add_model_arguments, build_inferencer

if TYPE_CHECKING:
    import numpy as np

USED = ('depth', 'normals', 'edge', 'semseg')


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm pointcloud IMAGE [CHECKPOINT] --out FILE.ply``; returns the exit status."""
    return run_command(make_point_cloud, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('pointcloud', __doc__)
    parser.add_argument('input', help='an image')
    add_model_arguments(parser, tasks=False)
    parser.add_argument('--out', required=True, metavar='PLY', help='the file to write')
    parser.add_argument(
        '--colour', choices=['image', 'semseg'], default='image', help='(%(default)s)'
    )
    parser.add_argument(
        '--max-edge',
        type=real_number(0, 1),
        default=0.5,
        metavar='P',
        help='leave out pixels that are an edge with a higher probability; 1 keeps all '
        '(%(default)s)',
    )
    parser.add_argument(
        '--max-depth',
        type=real_number(0, math.inf),
        default=float('inf'),
        metavar='METRES',
        help='leave out what is farther',
    )
    parser.add_argument(
        '--picture', metavar='PNG', help='also draw the cloud, seen from beside and above'
    )
    add_overwrite(parser)
    return parser.parse_args(argv)


def make_point_cloud(args: argparse.Namespace) -> None:
    from m2h_mm.geometry.pinhole import check_camera
    from m2h_mm.mapping.point_cloud import draw_cloud, point_cloud
    from m2h_mm.system.outputs import require_free
    from m2h_mm.tasks.view import build_view
    from m2h_mm.visualization import save_picture

    require_free(
        filter(None, [args.out, args.picture]),
        filter(None, [args.input, args.checkpoint, args.config]),
        args.overwrite,
    )
    inferencer = build_inferencer(args, show_progress=False)
    for task in {'depth', *({'semseg'} if args.colour == 'semseg' else ())} - set(inferencer.tasks):
        raise ValueError(f'The model has the tasks {list(inferencer.tasks)}; this needs {task!r}.')
    tasks = [
        task
        for task in USED
        if task in inferencer.tasks and (task != 'semseg' or args.colour == 'semseg')
    ]
    (prediction,) = inferencer.stream(
        inferencer.list_inputs([args.input]), tasks, args.size, args.dtype
    )
    if prediction.error is not None:
        raise ValueError(prediction.error)
    maps = prediction.maps
    size = prediction.image.shape[:2]
    camera, origin = choose_camera(args, prediction.cam2img, size)
    doubt = check_camera(*camera, size)
    if doubt is not None:
        print(f'warning: {doubt}, says {origin}. Is that so?')
    colours = (
        build_view(inferencer.tasks['semseg']).draw(maps['semseg'])
        if args.colour == 'semseg'
        else prediction.image
    )
    cloud = point_cloud(
        maps['depth'],
        camera,
        colours,
        maps.get('normals'),
        maps.get('edge'),
        args.max_edge,
        args.max_depth,
    )
    cloud.write_ply(args.out)
    print(
        'Camera: fx {:.1f}, fy {:.1f}, cx {:.1f}, cy {:.1f}'.format(*camera) + f', from {origin}.'
    )
    print(f'{len(cloud.points)} of {maps["depth"].size} pixels: {args.out}')
    if args.picture:
        save_picture(draw_cloud(cloud), args.picture)
        print(f'Picture: {args.picture}')


def choose_camera(
    args: argparse.Namespace, cam2img: np.ndarray | None, size: tuple[int, int]
) -> tuple[tuple[float, ...], str]:
    """(fx, fy, cx, cy) in pixels, and where it comes from."""
    from m2h_mm.geometry.pinhole import DEFAULT_FOV, camera_of_view

    if cam2img is not None:
        fx, fy, cx, cy = (cam2img[row, column] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))
        if args.intrinsics:
            origin = '--intrinsics'
        else:
            origin = f'--fov {args.fov:g}' if args.fov is not None else "the photo's EXIF"
        return (fx, fy, cx, cy), origin
    return camera_of_view(size), (
        f'an assumed view of {DEFAULT_FOV:g} degrees: give --fov or --intrinsics for true '
        'proportions'
    )
