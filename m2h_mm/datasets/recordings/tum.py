"""TUM RGB-D (Sturm et al., IROS 2012)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2h_mm.geometry.pose import pose_from_quaternion
from m2h_mm.system.text import read_lines

from .layout import Layout, RecordedFrame, Recording

CAMERAS = {
    'freiburg1': (517.3, 516.5, 318.6, 255.3),
    'freiburg2': (520.9, 521.0, 325.1, 249.7),
    'freiburg3': (535.4, 539.2, 320.1, 247.6),
}
"""The published calibrations of the colour cameras. The distortion of the first two stays."""
DEFAULT_CAMERA = (525.0, 525.0, 319.5, 239.5)
MOST_APART = 0.02
"""Seconds between an image and the depth or the pose that is taken to belong to it, at most."""


def _read(folder: Path) -> Recording:
    images = _table(folder / 'rgb.txt', 2)
    depths, poses = _table(folder / 'depth.txt', 2), _table(folder / 'groundtruth.txt', 8)
    frames = []
    for time, row in images.items():
        depth, pose = _nearest(depths, time), _nearest(poses, time)
        frames.append(
            RecordedFrame(
                folder / row[0],
                folder / depth[0] if depth else None,
                time,
                _pose(pose, folder / 'groundtruth.txt') if pose else None,
            )
        )
    return Recording(folder, _camera(folder), frames)


def _table(path: Path, columns: int) -> dict[float, list[str]]:
    """Time stamp to the other columns of a file's lines, in order of time; empty if it is missing.

    Raises:
        ValueError: lines of another form, or one time twice.
    """
    if not path.is_file():
        return {}
    rows = [line.split() for line in read_lines(path) if not line.startswith('#')]
    try:
        table = {float(row[0]): row[1:] for row in rows if len(row) == columns}
    except ValueError as error:
        raise ValueError(f'{path}: expected a time in seconds in each line ({error}).') from None
    if len(table) != len(rows):
        raise ValueError(
            f'{path}: expected {columns} columns in each line, the first a time that comes once; '
            f'{len(rows) - len(table)} of {len(rows)} lines are not so.'
        )
    return dict(sorted(table.items()))


def _nearest(table: dict[float, list[str]], time: float) -> list[str] | None:
    """The row that is nearest in time; None if it is too far away."""
    times = np.fromiter(table, np.float64, len(table))
    if not len(times):
        return None
    best = int(np.abs(times - time).argmin())
    return table[times[best]] if abs(times[best] - time) <= MOST_APART else None


def _pose(row: list[str], path: Path) -> np.ndarray | None:
    try:
        numbers = np.array(row, dtype=np.float64)
        if not np.isfinite(numbers).all():
            return None
        return pose_from_quaternion(numbers[:3], numbers[3:])
    except ValueError as error:
        raise ValueError(f'{path}: {error}.') from None


def _camera(folder: Path) -> tuple[float, float, float, float]:
    return next(
        (camera for name, camera in CAMERAS.items() if name in folder.resolve().name),
        DEFAULT_CAMERA,
    )


TUM = Layout(
    'rgb.txt',
    _read,
    lambda root, split: None,
    dict(unit='1/5000'),
    'rgb.txt, depth.txt and groundtruth.txt as in TUM RGB-D',
)
