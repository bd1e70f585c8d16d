"""Make a map of a room from a sequence of frames and their poses.

FRAMES is a folder: a recording as of 7-Scenes, TUM RGB-D or ScanNet, a walk through rendered rooms,
or photos with --poses: a folder of <photo>.txt of 4x4 numbers, or a file of lines "time tx ty tz qx
qy qz qw" or of 12 or 16 numbers; from the camera (x right, y down, z forward) to the world, metres.
Depth and classes that a frame has of its own are used, others are predicted. DIR gets mesh.ply and
mesh.glb, the scene graph as graph.json and, for Spark-DSG and Hydra, as dsg.json, and map.png.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_overwrite, make_parser, real_number, run_command, whole_number
from m2h_mm.cli.model_arguments import add_model_arguments, add_stabilise, build_inferencer
from m2h_mm.system.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np

    from m2h_mm.mapping.frames import Frames, MapFrame
    from m2h_mm.mapping.mapper import Map, Mapper
    from m2h_mm.mapping.rerun_log import RerunLog

INTERRUPTED = 130
LAYOUTS = ('photos', 'nyud-mt', '7scenes', 'tum', 'scannet')
LABELS = ('own', 'predicted')


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm map FRAMES [CHECKPOINT] --out DIR``; returns the exit status."""
    return run_command(make_map, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('map', __doc__)
    parser.add_argument('frames', metavar='FRAMES', help='the folder')
    add_model_arguments(parser, tasks=False)
    add_stabilise(parser)
    parser.add_argument('--out', required=True, metavar='DIR', help='for the files of the map')
    parser.add_argument('--poses', metavar='PATH', help='of photos: a file, or a folder of files')
    parser.add_argument('--layout', choices=LAYOUTS, help='of the folder (what is in it says so)')
    parser.add_argument(
        '--sequence', metavar='NAME', help='the one to take where there are several'
    )
    parser.add_argument(
        '--depth',
        choices=LABELS,
        default='own',
        help="the frames' own, where they have it, or predicted (%(default)s)",
    )
    parser.add_argument('--classes', choices=LABELS, default='own', help='likewise (%(default)s)')
    parser.add_argument(
        '--every', type=whole_number(1), default=1, metavar='N', help='take every N-th frame only'
    )
    parser.add_argument(
        '--voxel',
        type=real_number(0, 1),
        default=0.02,
        metavar='METRES',
        help='edge of a voxel (%(default)s)',
    )
    parser.add_argument(
        '--far',
        type=real_number(0, 1000),
        default=8.0,
        metavar='METRES',
        help='do not use depth beyond (%(default)s)',
    )
    parser.add_argument(
        '--memory',
        type=real_number(0, math.inf),
        default=1024,
        metavar='MIB',
        help='of all voxels; beyond, no new places are added (%(default)s)',
    )
    parser.add_argument(
        '--min-weight',
        type=real_number(0, 1000),
        default=0.05,
        metavar='W',
        help='observations from one metre that a surface needs; more for noisy depth (%(default)s)',
    )
    parser.add_argument(
        '--min-area',
        type=real_number(0, math.inf),
        default=0.04,
        metavar='M2',
        help='surface that a thing needs, square metres (%(default)s)',
    )
    parser.add_argument(
        '--up',
        nargs=3,
        type=float,
        metavar=('X', 'Y', 'Z'),
        help="against gravity, in the poses' world (normal of the floor, by its class; else z)",
    )
    parser.add_argument('--rerun', metavar='RRD', help='also write a recording for Rerun')
    parser.add_argument('--live', action='store_true', help='show it while it grows, in Rerun')
    add_overwrite(parser)
    return parser.parse_args(argv)


def make_map(args: argparse.Namespace) -> int:
    """Status 130 if Ctrl-C ended it."""
    import numpy as np

    from m2h_mm.mapping.frames import Frames
    from m2h_mm.mapping.gravity import upright
    from m2h_mm.mapping.mapper import FILES, Mapper
    from m2h_mm.mapping.rerun_log import RerunLog
    from m2h_mm.mapping.roles import Roles
    from m2h_mm.system import remove_temporaries
    from m2h_mm.system.outputs import require_free

    up = np.array(args.up) if args.up else None
    if up is not None:
        upright(up)
    mapper = Mapper(voxel=args.voxel, far=args.far, memory=args.memory)
    frames = Frames(
        args.frames,
        args.poses,
        args.layout,
        args.sequence,
        args.intrinsics or args.fov,
        args.every,
    )
    files = [Path(args.out, name) for name in FILES] + ([Path(args.rerun)] if args.rerun else [])
    read = [*frames.paths, *filter(None, [args.checkpoint, args.config])]
    require_free(files, read, args.overwrite)
    for file in files:
        remove_temporaries(file.parent, file.name)
    log = RerunLog(args.rerun, args.live) if args.rerun or args.live else None
    labels = Labels(args, frames)
    mapper.roles = Roles(labels.names)
    tell_of_frames(frames)
    started = time.monotonic()
    try:
        with log or contextlib.nullcontext():
            fuse_all(frames, labels, mapper, log)
            rate = mapper.volume.frames / (time.monotonic() - started)
            map = mapper.finish(up, args.min_weight, args.min_area)
            if log is not None:
                log.mesh(map.mesh, map.level)
                log.graph(map.graph)
            map.write(args.out)
    except KeyboardInterrupt:
        print('Interrupted: nothing was written.', file=sys.stderr)
        return INTERRUPTED
    tell_of_map(map, mapper, rate, args)
    return 0


class Labels:
    """Depth and classes of frames: their own, or predicted.

    Args:
        args: of the command line.
        frames: the first of them says what they have of their own; all must have that.

    Attributes:
        names: of the classes.
    """

    def __init__(self, args: argparse.Namespace, frames: Frames) -> None:
        first = next(iter(frames))
        self._tasks = [
            task
            for task, choice, own in (
                ('depth', args.depth, first.depth),
                ('semseg', args.classes, first.classes),
            )
            if choice == 'predicted' or own is None
        ]
        self._args = args
        self.names: Sequence[str] = frames.names
        if not self._tasks:
            return
        self._inferencer = build_inferencer(args, show_progress=False, stabilise=args.stabilise)
        if 'depth' in self._tasks and 'depth' not in self._inferencer.tasks:
            raise ValueError(
                f'The model has the tasks {list(self._inferencer.tasks)}; a map needs depth.'
            )
        if 'semseg' in self._tasks:
            self._tasks = [task for task in self._tasks if task in self._inferencer.tasks]
            self.names = self._inferencer.classes.get('semseg', ())

    def complete(self, frames: Frames) -> Iterator[MapFrame]:
        """The frames with all labels, one after the other.

        Raises:
            ValueError: a frame lacks one that the first has.
        """
        for frame in self._predict(frames) if self._tasks else frames:
            if frame.depth is None:
                raise ValueError(
                    f'{frame.name} has no depth of its own, as others have: add --depth '
                    'predicted, or take it out.'
                )
            yield frame

    def _predict(self, frames: Frames) -> Iterator[MapFrame]:
        held: deque[MapFrame] = deque()

        def images() -> Iterator[tuple[str, np.ndarray]]:
            for frame in frames:
                held.append(frame)
                camera = (frame.cam2img[at] for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
                self._inferencer.camera = tuple(map(float, camera))
                yield frame.name, frame.image

        stream = self._inferencer.stream(images(), self._tasks, self._args.size, self._args.dtype)
        for prediction in stream:
            frame = held.popleft()
            if prediction.error is not None:
                raise ValueError(prediction.error)
            frame.depth = prediction.maps.get('depth', frame.depth)
            frame.classes = prediction.maps.get('semseg', frame.classes)
            yield frame


def fuse_all(frames: Frames, labels: Labels, mapper: Mapper, log: RerunLog | None) -> None:
    """Bring all frames into the map, and show how far it is."""
    warned = False
    with progress_bar('Frames') as progress:
        bar = progress.add_task('', total=len(frames))
        for number, frame in enumerate(labels.complete(frames)):
            view = (frame.cam2img, frame.cam2world)
            mapper.fuse(frame.depth, *view, frame.image, frame.classes)
            if log is not None:
                log.frame(number, frame.timestamp, frame.image, frame.depth, frame.classes, *view)
            if mapper.volume.refused and not warned:
                warned = True
                progress.console.print(
                    f'warning: the memory of the map is full at {frame.name}: what lies elsewhere '
                    'is left out. Raise --memory or --voxel, or lower --far.'
                )
            progress.advance(bar)


def tell_of_frames(frames: Frames) -> None:
    """What is taken, and what is not."""
    print(f'{len(frames)} frames of layout {frames.layout}.')
    if frames.lost:
        print(f'warning: {frames.lost} frames have no pose, and are left out.')
    if frames.guessed:
        print(
            'warning: nothing is known of the camera: a view of 60 degrees is assumed. Give --fov '
            'or --intrinsics for true proportions.'
        )


def tell_of_map(map: Map, mapper: Mapper, rate: float, args: argparse.Namespace) -> None:
    """What was found, and where it is."""
    graph, volume = map.graph, mapper.volume
    print(
        f'{volume.frames} frames at {rate:.1f}/s, voxels of {volume.memory:.0f} MiB; up: '
        f'{graph.facts["up"]}.'
    )
    if volume.refused:
        print('warning: the map is not complete: its memory was full.')
    kinds = Counter(plane.kind for plane in graph.planes)
    shown = ', '.join(f'{kind}: {kinds[kind]}' for kind in ('floor', 'ceiling', 'wall'))
    print(
        f'{len(map.mesh.triangles)} triangles; rooms: {len(graph.plan.rooms)}, {shown}, places: '
        f'{len(graph.plan.places)}, things: {len(graph.objects)}'
    )
    print(f'Map: {args.out}' + (f'; recording: {args.rerun}' if args.rerun else ''))
