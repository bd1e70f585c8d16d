"""Where the photographer stands."""

from __future__ import annotations

import numpy as np

from .camera import Camera, look
from .layout import Room

_CANDIDATES = 96
_CLEARANCE = 0.3
"""Least distance of the camera from furniture, metres."""


def choose_camera(rng: np.random.Generator, room: Room, height: int, width: int) -> Camera:
    """A camera in the room's free space that has as much furniture as possible before it.

    Candidates are scored by what would be in view: many things, none of them right before the lens, and a good part of
    the room's depth.
    """
    field_of_view = np.radians(rng.uniform(55, 75))
    focal = 0.5 * width / np.tan(field_of_view / 2)
    roll, shift = rng.normal(0, np.radians(1.5)), rng.normal(0, 0.01, 2) * width
    scores, poses = [], []
    solids = np.array(room.solids)
    subjects = solids[room.subjects]
    centers, sizes = subjects.mean(1), np.sqrt(np.ptp(subjects, axis=1).prod(1))
    for _ in range(_CANDIDATES):
        position = np.array([*(rng.uniform(-0.5, 0.5, 2) * (room.size[:2] - 0.5)), rng.uniform(1.1, 1.75)])
        apart = np.maximum(solids[:, 0] - position, position - solids[:, 1]).max(1)
        if apart.min() < _CLEARANCE:
            continue
        target = np.array([*(rng.uniform(-0.5, 0.5, 2) * room.size[:2]), rng.uniform(0.45, 1.15)])
        distance = np.linalg.norm(target[:2] - position[:2])
        if distance < 1.2:
            continue
        forward = (target - position) / np.linalg.norm(target - position)
        right = np.cross(forward, (0, 0, 1)) / np.hypot(*forward[:2])
        offset = centers - position
        ahead, across = offset @ forward, offset @ right
        inside = (ahead > 0.6) & (np.abs(across) < 0.9 * ahead * np.tan(field_of_view / 2))
        near = (ahead < 1.3) & (np.abs(across) < ahead * np.tan(field_of_view / 2) + 0.4) & (ahead > 0)
        value = (np.minimum(sizes, 1.0) * inside).sum() + 0.25 * inside.sum() - 0.8 * (sizes * near).sum()
        scores.append(value + 0.45 * min(distance, 3.5) + rng.normal(0, 0.3))
        poses.append((position, target))
    if poses:
        position, target = poses[int(np.argmax(scores))]
    else:
        position, target = np.array([0.0, 0.0, room.size[2] - 0.7]), np.array([*centers[0][:2] + 0.01, 0.8])
    return look(position, target, roll, focal, height, width, shift)
