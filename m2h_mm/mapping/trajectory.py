"""Files of poses that come with photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from m2h_mm.datasets.recordings.layout import read_pose
from m2h_mm.geometry.pose import check_pose, pose_from_quaternion
from m2h_mm.system.text import read_lines

MOST_APART = 0.02
"""Seconds between a photo and its pose, at most."""
_EXPECTED = (
    'expected a folder of <photo>.txt of 4x4 numbers each, or a file with lines of '
    '"time tx ty tz qx qy qz qw" (TUM), or of 12 or 16 numbers, one for each photo'
)


def read_trajectory(
    path: Path, stems: Sequence[str]
) -> list[tuple[float | None, np.ndarray | None]]:
    """Time in seconds, and pose ``(4, 4)`` camera to world, of each photo; None where not known.

    - A folder: ``<stem>.txt`` or ``<stem>.pose.txt`` with 4x4 numbers; infinite ones mean lost.
    - Lines of 8 numbers: time, position, quaternion (x, y, z, w). A photo whose name is a number
      gets the pose that is nearest in time, at most 0.02 s apart. Other photos get theirs in
      order, if there are as many.
    - Lines of 12 or 16 numbers: the rows of a pose for each photo, in order.

    Args:
        path: the folder or file.
        stems: names of the photos without suffix, in order.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: something else is in it, or another number of poses.
    """
    if path.is_dir():
        poses = [_of_photo(path, stem) for stem in stems]
        if all(pose is None for pose in poses):
            raise ValueError(f'{path}: no {stems[0]}.txt or the like; {_EXPECTED}.')
        return [(None, pose) for pose in poses]
    if not path.is_file():
        raise FileNotFoundError(f'--poses: there is no file or folder {path}.')
    try:
        rows = [
            [float(word) for word in line.split()]
            for line in read_lines(path)
            if not line.startswith('#')
        ]
    except ValueError as error:
        raise ValueError(f'{path}: {_EXPECTED} ({error}).') from None
    widths = {len(row) for row in rows}
    if len(widths) != 1 or not widths & {8, 12, 16}:
        raise ValueError(f'{path}: {_EXPECTED}; got lines of {sorted(widths)} numbers.')
    poses = [_of_row(row, f'{path}, line {number}') for number, row in enumerate(rows, 1)]
    if widths == {8}:
        times = np.array([row[0] for row in rows])
        wanted = [_number(stem) for stem in stems]
        if None not in wanted:
            nearest = [int(np.abs(times - time).argmin()) for time in wanted]
            return [
                (time, poses[index] if abs(times[index] - time) <= MOST_APART else None)
                for time, index in zip(wanted, nearest, strict=True)
            ]
    if len(poses) != len(stems):
        raise ValueError(
            f'{path}: expected a pose for each of {len(stems)} photos in order, got {len(poses)}. '
            'With times (TUM), photos may be named by theirs.'
        )
    times = [row[0] if widths == {8} else None for row in rows]
    return list(zip(times, poses, strict=True))


def _of_photo(folder: Path, stem: str) -> np.ndarray | None:
    names = (f'{stem}.txt', f'{stem}.pose.txt', f'{stem.removesuffix(".color")}.pose.txt')
    paths = [folder / name for name in names]
    return next((read_pose(path) for path in paths if path.is_file()), None)


def _of_row(row: list[float], where: str) -> np.ndarray | None:
    if not np.isfinite(row).all():
        return None
    try:
        if len(row) == 8:
            return pose_from_quaternion(np.array(row[1:4]), np.array(row[4:]))
        return check_pose(np.array(row).reshape(-1, 4))
    except ValueError as error:
        raise ValueError(f'{where}: {error}.') from None


def _number(stem: str) -> float | None:
    try:
        return float(stem)
    except ValueError:
        return None
