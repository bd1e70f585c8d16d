"""The poses of a data set, as ``poses.json`` lists them."""

from __future__ import annotations

import math
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import numpy as np

from m2h_mm.geometry.pose import check_pose
from m2h_mm.system.paths import as_id
from m2h_mm.system.text import read_json

POSES = 'poses.json'
_EXPECTED = '{"<id>": {"timestamp": seconds, "cam2world": 4x4 numbers or null}, ...}'


class Pose(NamedTuple):
    """Where and when a frame was taken.

    Args:
        timestamp: seconds.
        cam2world: (4, 4) float64, see :mod:`m2h_mm.geometry.pose`; None where it is not known.
    """

    timestamp: float
    cam2world: np.ndarray | None


def read_poses(root: Path) -> dict[str, Pose]:
    """Frame id to pose, from ``poses.json`` in ``root``; empty where there is none.

    Raises:
        ValueError: the file holds something else, or what is no pose.
    """
    path = root / POSES
    if not path.exists():
        return {}
    poses = {}
    for frame_id, entry in read_json(path, _EXPECTED).items():
        try:
            if not isinstance(entry, dict) or not {'timestamp', 'cam2world'} <= entry.keys():
                raise ValueError(f'expected {_EXPECTED}, got {entry!r}'[:200])
            time, cam2world = entry['timestamp'], entry['cam2world']
            if not isinstance(time, Real) or not math.isfinite(time):
                raise ValueError(f'timestamp: expected seconds, got {time!r}')
            if cam2world is not None:
                cam2world = check_pose(cam2world)
        except ValueError as error:
            raise ValueError(f'{path}, frame {frame_id!r}: {error}.') from None
        poses[as_id(frame_id)] = Pose(float(time), cam2world)
    return poses
