"""Time the boundary score on rendered rooms: ``python benchmarks/boundary_evaluation.py``.

The predictions are the true edges, displaced, blurred and cluttered, so that their scores lie near
networks'. Prints a JSON with the time of the whole evaluation, of a match, their growth with pixels
and thresholds, and the memory taken.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from rich.progress import track

from m2h_mm.datasets import RoomsDataset
from m2h_mm.datasets.transforms.packing import pack_label
from m2h_mm.tasks import Edge
from m2h_mm.tasks.edge.boundary_matching import match_boundaries
from m2h_mm.tasks.edge.metric import EdgeMetric
from m2h_mm.tasks.edge.thinning import thin

PROTOCOL = dict(preset='mtl-nms', max_dist=0.011, truth='contour')
LEVELS = (0.001, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)  # where single matches are timed


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--frames', type=int, default=654)
    parser.add_argument('--size', type=int, nargs=2, default=(425, 560), metavar=('H', 'W'))
    parser.add_argument(
        '--match-frames', type=int, default=20, help='frames whose matches are timed one by one'
    )
    parser.add_argument('--threads', type=int, help='default: one per core')
    parser.add_argument('--data-root', default='data/rooms')
    parser.add_argument('--out', metavar='JSON')
    return parser.parse_args()


def labels(data_root: str, frames: int, size: tuple[int, int]) -> list[str]:
    """Edge label files of rendered rooms."""
    rooms = RoomsDataset(
        data_root, split='val', tasks=['edge'], num_train=1, num_val=frames, size=size
    )
    return [rooms.get_data_info(index)['label_paths']['edge'] for index in range(frames)]


def noisy_prediction(label: np.ndarray, seed: int) -> np.ndarray:
    """Edge probabilities as of a network: smoothly displaced by some pixels, soft, with clutter and
    faint parts.
    """
    rng = np.random.default_rng(seed)
    height, width = label.shape

    def field(sigma: float) -> np.ndarray:
        small = rng.normal(
            size=(max(2, round(height / sigma)), max(2, round(width / sigma)))
        ).astype(np.float32)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)

    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(label.astype(np.float32), x + field(30), y + field(30), cv2.INTER_LINEAR)
    strength = np.clip(0.9 + 0.35 * field(60), 0.1, 1.5)
    clutter = np.clip(cv2.GaussianBlur(field(3), (0, 0), 1), 0, None)
    return np.clip(1.5 * strength * cv2.GaussianBlur(moved, (0, 0), 1.2) + 0.2 * clutter, 0, 1)


def evaluate(metric: EdgeMetric, paths: list[str]) -> dict:
    """Score the frames; only the metric's time counts, not that of making predictions."""
    seconds, memory = [], []
    for index, path in enumerate(track(paths, description=metric.protocol)):
        label = Edge().read(path)
        pred = torch.from_numpy(noisy_prediction(label.value, index))[None]
        start = time.perf_counter()
        fields = dict(gt_edge=pack_label(label), pred_edge=dict(data=pred))
        metric.process(None, [fields])
        seconds.append(time.perf_counter() - start)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    quarter = len(paths) // 4
    return dict(
        protocol=metric.protocol,
        frames=len(paths),
        minutes=sum(seconds) / 60,
        seconds_per_frame_median=float(np.median(seconds)),
        seconds_per_frame_max=max(seconds),
        peak_memory_mib_after_a_quarter=memory[quarter],
        peak_memory_mib_at_the_end=memory[-1],
        **metric.evaluate(len(paths)),
    )


def matches(
    paths: list[str], size: tuple[int, int]
) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Pairs of thin maps as the protocol matches them, at ``size``, and their radius."""
    boundary = EdgeMetric(Edge(), **PROTOCOL).boundary
    for index, path in enumerate(paths):
        label = Edge().read(path).resize(size).value
        truth, edges = (
            boundary.prepare_truth(label),
            boundary.prepare_edges(noisy_prediction(label, index)),
        )
        for level in LEVELS:
            yield thin(edges > level), truth, boundary.max_dist * np.hypot(*size)


def time_matches(paths: list[str], size: tuple[int, int]) -> dict:
    """Milliseconds of single matches in this thread."""
    milliseconds = []
    for pred, truth, radius in matches(paths, size):
        start = time.perf_counter()
        match_boundaries(pred, truth, radius)
        milliseconds.append(1000 * (time.perf_counter() - start))
    return dict(
        size=list(size),
        matches=len(milliseconds),
        mean_ms=float(np.mean(milliseconds)),
        median_ms=float(np.median(milliseconds)),
        max_ms=max(milliseconds),
    )


def main() -> None:
    args = parse_args()
    size = tuple(args.size)
    paths = labels(args.data_root, args.frames, size)
    warm_up = EdgeMetric(Edge(), **PROTOCOL)
    evaluate(warm_up, paths[:1])  # compiles

    some = paths[: args.match_frames]
    report = dict(
        evaluation=evaluate(EdgeMetric(Edge(), **PROTOCOL, num_threads=args.threads), paths),
        matching=[
            time_matches(some, (round(480 * scale), round(640 * scale)))
            for scale in (0.25, 0.5, 1, 2)
        ],
        growth_with_thresholds=[
            {
                name: report[name]
                for name in ('protocol', 'seconds_per_frame_median', 'edge/odsF', 'edge/oisF')
            }
            for report in (
                evaluate(
                    EdgeMetric(Edge(), **PROTOCOL, num_thresholds=count, num_threads=args.threads),
                    some,
                )
                for count in (5, 11, 25, 50, 101)
            )
        ],
    )
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        with open(args.out, 'w') as file:
            file.write(text)


if __name__ == '__main__':
    main()
