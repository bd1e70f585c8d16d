"""Predict the maps of a video: ``python demo/video_demo.py INPUT CHECKPOINT --out
FILE.mp4``.

INPUT is a video file, or the number of a camera. The file shows the frames and their maps side by
side; with --tasks and --no-image it shows a single map. Colours mean the same in all frames: depth
reaches from 0 to --max-depth. Ctrl-C ends a camera's recording.
"""

import argparse
import math
import time
from collections.abc import Mapping
from itertools import islice

import cv2
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from m2h_mm.cli.common import plain_errors
from m2h_mm.cli.model_arguments import add_model_arguments
from m2h_mm.inference import M2HInferencer, Prediction
from m2h_mm.inference.video import VideoReader, VideoWriter
from m2h_mm.tasks import Depth
from m2h_mm.tasks.view import View, build_view

COLUMNS = 3


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('input', help='a video file, or the number of a camera')
    add_model_arguments(parser)
    parser.add_argument('--out', required=True, metavar='MP4', help='the video to write')
    parser.add_argument('--no-image', action='store_true', help='leave out the frame itself')
    parser.add_argument(
        '--max-depth', type=float, metavar='METRES', help="end of the colour scale (the model's)"
    )
    parser.add_argument(
        '--panel-width',
        type=int,
        default=480,
        metavar='N',
        help='of each map, pixels (%(default)s)',
    )
    parser.add_argument(
        '--compile', action='store_true', help='compile the network: a slow start, then faster'
    )
    parser.add_argument('--max-frames', type=int, metavar='N', help='stop after so many')
    return parser.parse_args()


def colour_limits(
    prediction: Prediction, views: Mapping[str, View], max_depth: float | None
) -> dict[str, tuple[float, float] | None]:
    """The colour scale of each map for all frames, of which ``prediction`` is the first."""
    return {
        name: (0.0, max_depth)
        if max_depth and isinstance(views[name].task, Depth)
        else views[name].limits_of_video(views[name].map_of(map))
        for name, map in prediction.maps.items()
    }


def picture(
    prediction: Prediction,
    views: Mapping[str, View],
    limits: Mapping[str, tuple[float, float] | None],
    args: argparse.Namespace,
) -> np.ndarray:
    """The frame and its maps in rows of up to three."""
    panels = [] if args.no_image else [prediction.image]
    for name, map in prediction.maps.items():
        shown = views[name].map_of(map)
        panels.append(views[name].draw(shown.value, shown.valid, limits[name]))
    height, width = prediction.image.shape[:2]
    size = (args.panel_width, max(2, round(height * args.panel_width / width)))
    panels = [cv2.resize(panel, size, interpolation=cv2.INTER_AREA) for panel in panels]
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    panels += [np.full_like(panels[0], 255)] * (rows * columns - len(panels))
    return np.vstack(
        [np.hstack(panels[row * columns : (row + 1) * columns]) for row in range(rows)]
    )


def main() -> None:
    args = parse_args()
    inferencer = M2HInferencer(
        args.checkpoint,
        args.config,
        args.device,
        compile=args.compile,
    )
    video = VideoReader(args.input)
    total = min(filter(None, (video.total, args.max_frames)), default=None)
    frames = ((f'{index:06d}', frame) for index, frame in enumerate(islice(video, args.max_frames)))
    views = {name: build_view(task) for name, task in inferencer.tasks.items()}
    limits: dict[str, tuple[float, float] | None] = {}
    done, started = 0, time.monotonic()
    columns = (TextColumn('Frames'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with VideoWriter(args.out, video.fps) as writer, Progress(*columns) as progress:
            bar = progress.add_task('', total=total)
            for prediction in inferencer.stream(frames, args.tasks, args.size, args.dtype):
                limits = limits or colour_limits(prediction, views, args.max_depth)
                writer.write(picture(prediction, views, limits, args))
                done += 1
                progress.advance(bar)
    except KeyboardInterrupt:
        print('Interrupted.')
    if not done:
        raise ValueError(f'Video {args.input} has no frame that can be decoded.')
    rate = done / (time.monotonic() - started)
    print(f'{done} frames, {rate:.1f} frames/s with reading, drawing and writing: {args.out}')
    if video.broken:
        print(f'{video.broken} frames could not be decoded and were passed over.')


if __name__ == '__main__':
    with plain_errors():
        main()
