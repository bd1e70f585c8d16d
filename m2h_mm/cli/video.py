"""Predict the maps of a video.

INPUT is a video file, or the number of a camera. The file that is written shows the frames and
their maps side by side; with --tasks and --no-image it shows a single map. Colours mean the same in
all frames: depth reaches from 0 to --max-depth. Every frame is shown as long as in the input, also
where its rate changes; sound is left out. Of a camera, the network takes the latest frame, those
that come while it works are dropped, and Ctrl-C ends the recording.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from m2h_mm.cli.command import add_overwrite, make_parser, real_number, run_command, whole_number
from m2h_mm.cli.model_arguments import add_model_arguments, add_stabilise, build_inferencer
from m2h_mm.system.progress import progress_bar

if TYPE_CHECKING:
    from m2h_mm.inference.video import VideoReader, VideoWriter

READ_AHEAD = 4  # frames of a file that wait for the network
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """``m2h-mm video INPUT [CHECKPOINT] --out FILE.mp4``; returns the exit status."""
    return run_command(predict_video, parse_args(argv))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser('video', __doc__)
    parser.add_argument('input', help='a video file, or the number of a camera')
    add_model_arguments(parser)
    parser.add_argument('--out', required=True, metavar='MP4', help='the video to write')
    parser.add_argument('--no-image', action='store_true', help='leave out the frame itself')
    parser.add_argument(
        '--max-depth',
        type=real_number(0, math.inf),
        metavar='METRES',
        help="end of the colour scale (the model's)",
    )
    parser.add_argument(
        '--panel-width',
        type=whole_number(16),
        default=480,
        metavar='N',
        help='of each map, pixels (%(default)s)',
    )
    parser.add_argument(
        '--compile', action='store_true', help='compile the network: a slow start, then faster'
    )
    parser.add_argument(
        '--max-frames', type=whole_number(1), metavar='N', help='stop after so many'
    )
    parser.add_argument(
        '--max-rate',
        type=real_number(0, math.inf),
        metavar='HZ',
        help='of a camera: take no more frames a second (as many as the network can)',
    )
    add_stabilise(parser)
    add_overwrite(parser)
    return parser.parse_args(argv)


def predict_video(args: argparse.Namespace) -> int:
    """Status 130 if Ctrl-C ended it before the end of the file."""
    from m2h_mm.inference.stream import FrameStream
    from m2h_mm.inference.video import VideoReader, VideoWriter
    from m2h_mm.inference.video_panels import colour_limits, draw_panels, panel_size
    from m2h_mm.system.outputs import require_free
    from m2h_mm.tasks.view import build_view

    read = filter(None, [args.input, args.checkpoint, args.config])
    require_free([args.out], read, args.overwrite)
    print(f'Reading the time stamps of {args.input}')
    video = VideoReader(args.input, args.max_frames)
    total = video.total
    if video.is_camera:
        video.total = None  # frames that are dropped do not count
    elif args.max_rate:
        raise ValueError(
            f'--max-rate {args.max_rate:g}: it is for cameras. Of a file, such as {args.input}, '
            'every frame is shown: leave it out.'
        )
    writer = VideoWriter(args.out, video.fps)
    inferencer = build_inferencer(args, compile=args.compile, stabilise=args.stabilise)
    views = {name: build_view(task) for name, task in inferencer.tasks.items()}
    largest = {'depth': args.max_depth} if args.max_depth else {}
    limits = size = None
    done, started = 0, time.monotonic()
    stream = FrameStream(
        video,
        size=1 if video.is_camera else READ_AHEAD,
        latest=video.is_camera,
        max_rate=args.max_rate,
    )
    named = ((f'{index:06d}', frame) for index, frame in enumerate(islice(stream, total)))
    try:
        with writer, stream, progress_bar('Frames') as progress:
            bar = progress.add_task('', total=total)
            try:
                for prediction in inferencer.stream(named, args.tasks, args.size, args.dtype):
                    limits = limits or colour_limits(prediction, views, largest)
                    size = size or panel_size(prediction.image, args.panel_width)
                    picture = draw_panels(prediction, views, limits, size, not args.no_image)
                    writer.write(picture, video.shown_until(done))
                    done += 1
                    progress.advance(bar)
            except KeyboardInterrupt:
                if not video.is_camera:
                    raise
    except KeyboardInterrupt:
        print(f'Interrupted after {done} frames: nothing was written.', file=sys.stderr)
        return INTERRUPTED
    if not done:
        raise ValueError(f'Camera {args.input} gave no picture.')
    rate = done / (time.monotonic() - started)
    print(f'{done} frames, {rate:.1f} frames/s with reading, drawing and writing: {args.out}')
    describe(video, writer)
    if video.is_camera:
        print(
            f'{stream.dropped} frames of the camera came while the network worked and were '
            f'dropped. From a frame to its maps: {stream.latencies}.'
        )
    return 0


def describe(video: VideoReader, writer: VideoWriter) -> None:
    """What the new video does not have of the old one."""
    if video.broken:
        print(
            f'{video.broken} frames that the header counts are not shown: they are damaged, cut '
            'off, or were trimmed away.'
        )
    if not video.timed:
        print(f'The file has no usable time stamps: taken as {video.fps:g} frames/s.')
    if writer.dropped:
        print(
            f'{writer.dropped} frames were left out: the next one follows within less than '
            f'1/{writer.fps:g} s.'
        )
    if not video.is_camera:
        print('Every frame is shown at its time. Sound is left out.')
