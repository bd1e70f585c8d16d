"""One thing that moves through a room while it is filmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms import materials
from m2h_mm.rooms.camera import Camera
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.primitives import Group
from m2h_mm.rooms.room import Room

_TRACKS = 400
_GAP = 0.03
"""Least distance of the thing from others, metres."""
_FROM_CAMERA = 0.5
"""Least distance of the thing's middle from the camera, seen from above, metres."""
_SHORTEST = 0.25
"""Least length of its way, metres."""
_LEAST_SEEN = 0.2
"""Least share of the frames in which the thing's middle is seen."""


@dataclass(frozen=True)
class Moving:
    """A thing that slides to and fro between two places, and stops softly at both.

    Attributes:
        instance: its number among the room's instances.
        start, end: (3,) shift of the thing from where the room has it, metres.
        period: of going there and back, seconds.
        phase: at time 0, radians.
    """

    instance: int
    start: np.ndarray
    end: np.ndarray
    period: float
    phase: float

    def at(self, time: float) -> np.ndarray:
        """(3,) shift of the thing at ``time`` seconds from where the room has it, metres."""
        part = (1 - np.cos(2 * np.pi * time / self.period + self.phase)) / 2
        return self.start + part * (self.end - self.start)


def place_moving(
    rng: np.random.Generator,
    room: Room,
    kind: str,
    times: Sequence[float],
    cameras: Sequence[Camera],
) -> Moving | None:
    """Put a thing that moves into a room, where it meets nothing and is seen.

    Args:
        rng: its look and its way follow from that.
        room: the thing's parts are added to it.
        kind: ``'ball'`` or ``'box'``.
        times: of the frames, seconds.
        cameras: of the frames; the thing keeps clear of them.

    Returns:
        None where there is no such way; the room is then as it was.
    """
    group = Group()
    size = np.full(3, rng.uniform(0.2, 0.32))
    if kind == 'ball':
        group.begin(Nyu40.OTHERPROP)
        group.ellipsoid(size, (0, 0, 0), materials.vivid(rng))
    else:
        group.begin(Nyu40.BOX)
        size = size * rng.uniform(0.8, 1.3, 3)
        group.box(size, (0, 0, 0), materials.cardboard(rng))

    middle = np.array([0, 0, size[2] / 2])
    speed = rng.uniform(0.4, 0.9)
    boxes = np.array(room.solids + room.loose)
    best, most = None, _LEAST_SEEN * len(times)
    starts, ends = _tracks(rng, room, size)
    for start, end, phase in zip(starts, ends, rng.uniform(0, 2 * np.pi, _TRACKS), strict=True):
        if not _is_free(boxes, size, start, end):
            continue
        # The mean speed; twice the way in a period.
        moving = Moving(
            len(room.group.classes), start, end, 2 * np.linalg.norm(end - start) / speed, phase
        )
        places = np.array([moving.at(time) + middle for time in times])
        seen = _count_seen(places, cameras, boxes)
        if seen > most:
            best, most = moving, seen
    if best is not None:
        # The room has it at the origin, from where it is shifted.
        room.group.put(group, (0, 0, 0))
    return best


def _tracks(rng, room: Room, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) starts and ends on the floor."""
    reach = room.size[:2] / 2 - size[:2] / 2 - _GAP
    start = rng.uniform(-reach, reach, (_TRACKS, 2))
    bearing, length = rng.uniform(0, 2 * np.pi, _TRACKS), rng.uniform(0.3, 2, _TRACKS)
    end = start + (length * [np.cos(bearing), np.sin(bearing)]).T
    # Just above the floor, and above a rug on it.
    height = np.full((_TRACKS, 1), 0.03)
    return np.hstack([start, height]), np.hstack([np.clip(end, -reach, reach), height])


def _is_free(boxes: np.ndarray, size: np.ndarray, start: np.ndarray, end: np.ndarray) -> bool:
    """Whether the thing meets no bounds on its straight way: the way of its middle misses the boxes
    that have grown by the thing's size.
    """
    if np.linalg.norm(end - start) < _SHORTEST:
        return False
    low = boxes[boxes[:, 0, 2] < start[2] + size[2] + _GAP]
    grow = size[:2] / 2 + _GAP
    grown = np.stack([low[:, 0, :2] - grow, low[:, 1, :2] + grow], 1)
    return not _meets(start[None, :2], end[None, :2], grown).any()


def _count_seen(places: np.ndarray, cameras: Sequence[Camera], boxes: np.ndarray) -> int:
    """In how many frames the camera sees the thing's middle; -1 if it comes too near to it.

    Args:
        places: (F, 3) of the middle, metres.
        cameras: of the F frames.
        boxes: (B, 2, 3) bounds of what may hide it.
    """
    eyes = np.array([camera.position for camera in cameras])
    offset = places - eyes
    if np.linalg.norm(offset[:, :2], axis=1).min() < _FROM_CAMERA:
        return -1
    right, up, ahead = np.einsum('nij,nj->in', [camera.axes for camera in cameras], offset)
    camera = cameras[0]
    across = camera.width / 2 / camera.cam2img[0, 0]
    down = camera.height / 2 / camera.cam2img[1, 1]
    seen = (ahead > 0) & (np.abs(right) < across * ahead) & (np.abs(up) < down * ahead)
    if seen.any():
        seen[seen] = ~_meets(eyes[seen], places[seen], boxes).any(1)
    return int(seen.sum())


def _meets(start: np.ndarray, end: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, B) bool: whether the lines from points (N, D) to points (N, D) meet boxes (B, 2, D)."""
    step = (end - start)[:, None]
    step = np.where(np.abs(step) < 1e-9, 1e-9, step)
    first, second = ((boxes[:, side] - start[:, None]) / step for side in (0, 1))
    enters = np.minimum(first, second).max(2)
    leaves = np.maximum(first, second).min(2)
    return (enters < leaves) & (leaves > 0) & (enters < 1)
