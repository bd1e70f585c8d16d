"""What a label file holds that training accepts, although it is hardly meant."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from m2h_mm.tasks import Depth, Edge, HumanParts, Normals, Saliency, Task
from m2h_mm.tasks.depth.task import MILLIMETRES
from m2h_mm.tasks.files import read_array

NEAREST = 0.1  # metres; a whole map nearer than this is in another unit
UNIT_TOLERANCE = 0.1  # 8 bits change the length by 0.02 at most, JPEG by more
AWAY = 0.5


def find_oddities(task: Task, path: Path, label: np.ndarray) -> Iterator[tuple[str, float]]:
    """Yields what is odd and the share of the pixels that are.

    Args:
        task: whose label it is.
        path: its file.
        label: ``(H, W)`` or ``(H, W, 3)``, what the data set makes of it.
    """
    found = {}
    if isinstance(task, Depth):
        found = _depth(read_array(path), task.max_depth)
    elif isinstance(task, Normals):
        found = _normals(read_array(path), label)
    elif isinstance(task, (Edge, Saliency)):
        found = _two_values(read_array(path), path)
    # Of human parts, a label without a valid pixel says that nobody is there.
    if not isinstance(task, HumanParts):
        found['no valid pixel'] = np.full(label.shape[:2], not task.valid_pixels(label).any())
    for what, odd in found.items():
        if odd.any():
            yield what, float(odd.mean())


def _depth(stored: np.ndarray, max_depth: float) -> dict[str, np.ndarray]:
    depth = stored.astype(np.float64)
    if np.issubdtype(stored.dtype, np.integer):
        depth /= MILLIMETRES
    measured = np.isfinite(depth) & (depth > 0)
    return {
        'NaN or infinity, which counts as not measured': ~np.isfinite(depth),
        'negative, which counts as not measured': depth < 0,
        f'farther than max_depth = {max_depth:g} m, which is never predicted': measured
        & (depth > max_depth),
        f'nearer than {NEAREST} m everywhere: another unit?': measured
        & (depth[measured].max(initial=0) < NEAREST),
    }


def _normals(stored: np.ndarray, label: np.ndarray) -> dict[str, np.ndarray]:
    vectors = stored.astype(np.float64)
    if np.issubdtype(stored.dtype, np.integer):
        vectors = vectors * (2 / np.iinfo(stored.dtype).max) - 1
    length = np.linalg.norm(vectors, axis=2)
    away, valid = label[..., 2] < 0, label.any(axis=2)
    return {
        'NaN or infinity, which counts as missing': ~np.isfinite(length),
        'not unit vectors, which they are made when read': (np.abs(length - 1) > UNIT_TOLERANCE)
        & (length > UNIT_TOLERANCE)
        & np.isfinite(length),
        'most point away from the camera: another convention?': away
        & (away.sum() > AWAY * valid.sum()),
    }


def _two_values(stored: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    largest = 255 if path.suffix == '.png' and stored.dtype == np.uint8 else 1
    return {f'other values than 0 and {largest}': (stored != 0) & (stored != largest)}
