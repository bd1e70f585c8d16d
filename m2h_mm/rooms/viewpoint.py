"""The choice of a camera position in a room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms.camera import Camera, look
from m2h_mm.rooms.room import Room

_CANDIDATES = 160
_CLEARANCE = 0.3
"""Least distance of the camera from furniture, metres."""


@dataclass(frozen=True)
class Framing:
    """How a photographer holds the camera.

    Attributes:
        field_of_view: least and most horizontal field of view, degrees.
        heights: of the camera above the floor, least and most, metres.
        aims: heights of the point that it looks at, least and most, metres.
        roll: standard deviation about the optical axis, degrees.
        spacing: how much things right before the lens are avoided.
        nearest: least distance from the camera to the point that it looks at, metres.
    """

    field_of_view: tuple[float, float] = (55, 75)
    heights: tuple[float, float] = (1.1, 1.75)
    aims: tuple[float, float] = (0.45, 1.15)
    roll: float = 1.5
    spacing: float = 0.8
    nearest: float = 1.2


def choose_camera(
    rng: np.random.Generator, room: Room, height: int, width: int, framing: Framing | None = None
) -> Camera:
    """A camera in the room's free space that has as much furniture as possible before it.

    Candidates are scored by what would be in view: many things, none of them right before the lens,
    and a good part of the room's depth.
    """
    framing = framing or Framing()
    field_of_view = np.radians(rng.uniform(*framing.field_of_view))
    focal = 0.5 * width / np.tan(field_of_view / 2)
    roll, shift = rng.normal(0, np.radians(framing.roll)), rng.normal(0, 0.01, 2) * width
    spread = room.size[:2] / 2
    position = np.column_stack(
        [
            rng.uniform(-1, 1, (_CANDIDATES, 2)) * (spread - 0.25),
            rng.uniform(*framing.heights, _CANDIDATES),
        ]
    )
    target = np.column_stack(
        [rng.uniform(-1, 1, (_CANDIDATES, 2)) * spread, rng.uniform(*framing.aims, _CANDIDATES)]
    )
    score = score_views(room, position, target, field_of_view, framing.spacing)
    score += rng.normal(0, 0.3, _CANDIDATES)
    score[np.linalg.norm((target - position)[:, :2], axis=1) < framing.nearest] -= 10
    # In a room so full that no candidate is clear of furniture, the one that is clearest is taken.
    score += 100 * np.minimum(distance_to_things(room, position) - _CLEARANCE, 0)
    best = int(np.argmax(score))
    return look(position[best], target[best], roll, focal, height, width, shift)


def score_views(
    room: Room, position: np.ndarray, target: np.ndarray, field_of_view: float, spacing: float
) -> np.ndarray:
    """(C,) how good views are: many things in them, none of them right before the lens, and a good
    part of the room's depth.

    Args:
        room: the room.
        position, target: (C, 3) of the camera, and what it looks at, metres.
        field_of_view: horizontal, radians.
        spacing: see :class:`Framing`.
    """
    subjects = np.array(room.solids)[room.subjects]
    centers, sizes = subjects.mean(1), np.sqrt(np.ptp(subjects, axis=1).prod(1))
    distance = np.linalg.norm((target - position)[:, :2], axis=1)

    forward = target - position
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = (
        np.column_stack([forward[:, 1], -forward[:, 0]])
        / np.hypot(forward[:, 0], forward[:, 1])[:, None]
    )
    offset = centers - position[:, None]
    ahead = np.einsum('cmk,ck->cm', offset, forward)
    aside = np.abs(np.einsum('cmk,ck->cm', offset[..., :2], right))
    reach = ahead * np.tan(field_of_view / 2)
    inside = (ahead > 0.6) & (aside < 0.9 * reach)
    near = (ahead > 0) & (ahead < 1.3) & (aside < reach + 0.4)
    return (
        inside @ (np.minimum(sizes, 1.0) + 0.25)
        - spacing * near @ sizes
        + 0.45 * np.minimum(distance, 3.5)
    )


def distance_to_things(room: Room, position: np.ndarray) -> np.ndarray:
    """(C,) metres from points (C, 3) to the bounds of the nearest thing along the axis in which
    they are farthest apart; negative within.
    """
    solids = np.array(room.solids + room.loose)
    return (
        np.maximum(solids[:, 0] - position[:, None], position[:, None] - solids[:, 1]).max(2).min(1)
    )
