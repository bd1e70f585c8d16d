"""A room: its walls, what stands in it and which space is still free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from m2h_mm.rooms.primitives import Group

# Walls at -x, +x, -y, +y, in the order of the room's first four primitives.
WALLS = range(4)
# For each wall: the turn that brings a thing's back to it, radians; the direction into the room;
# and the direction along the wall in which ``shift`` counts.
YAW = (np.pi / 2, -np.pi / 2, np.pi, 0.0)
INWARD = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
ALONG = np.array([[0.0, 1, 0], [0, -1, 0], [-1, 0, 0], [1, 0, 0]])
# Between a piece of furniture and its wall, metres.
GAP = 0.025


@dataclass
class Window:
    """Where daylight comes in: ``center`` (3,) of the pane, its half extents, and the wall's inward
    normal.
    """

    center: np.ndarray
    along: np.ndarray
    half_width: float
    half_height: float
    inward: np.ndarray


@dataclass
class Room:
    """A room, centred on the origin, its floor at z = 0.

    Attributes:
        size: (3,) metres.
        daylight: 0 (night) .. 1.
        group: all parts; instances 0, 1, 2 are the walls, the floor and the ceiling.
        solids: (2, 3) bounds of every piece of furniture and fixture; no two of them overlap.
        subjects: indices of the solids that a photographer would look at.
        loose: (2, 3) bounds of small things that were put on furniture later; they may reach into
            the bounds of a solid, but into no part of it.
        reserved: (2, 3) bounds of space that stays empty (before doors and windows).
        windows: the windows.
    """

    size: np.ndarray
    daylight: float
    group: Group = field(default_factory=Group)
    solids: list[np.ndarray] = field(default_factory=list)
    subjects: list[int] = field(default_factory=list)
    loose: list[np.ndarray] = field(default_factory=list)
    reserved: list[np.ndarray] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)

    def is_free(self, bounds: np.ndarray) -> bool:
        """Whether a (2, 3) box lies in the room and meets neither a solid nor reserved space."""
        # Soft things sink in a little, which hides that they are ellipsoids.
        if (bounds[0] < [-self.size[0] / 2, -self.size[1] / 2, -0.06]).any() or (
            bounds[1] > [self.size[0] / 2, self.size[1] / 2, self.size[2] + 1e-6]
        ).any():
            return False
        return all(
            (bounds[0] >= other[1]).any() or (bounds[1] <= other[0]).any()
            for other in (*self.solids, *self.reserved)
        )

    def put(self, group: Group, at: Sequence[float], yaw: float, subject: bool = True) -> bool:
        """Place a group if its space is free; says whether it was."""
        bounds = turned(group.bounds(), yaw) + np.asarray(at)
        if not self.is_free(bounds):
            return False
        if subject:
            self.subjects.append(len(self.solids))
        self.solids.append(bounds)
        self.group.put(group, at, yaw)
        return True

    def at_wall(self, wall: int, shift: float, height: float = 0.0, gap: float = 0.0) -> np.ndarray:
        """(3,) point ``shift`` metres along a wall from its middle, ``gap`` from it."""
        reach = self.size[wall // 2] / 2
        return -INWARD[wall] * (reach - gap) + ALONG[wall] * shift + (0, 0, height)

    def put_at_wall(
        self,
        group: Group,
        wall: int,
        shift: float,
        height: float = 0.0,
        gap: float = GAP,
        subject: bool = True,
    ) -> bool:
        """Place a group with its back to a wall."""
        back = group.bounds()[1, 1]
        return self.put(group, self.at_wall(wall, shift, height, gap + back), YAW[wall], subject)

    def wall_length(self, wall: int) -> float:
        """Length of a wall, metres."""
        return self.size[1 - wall // 2]


def turned(bounds: np.ndarray, yaw: float) -> np.ndarray:
    """(2, 3) bounds of a box that is turned by ``yaw`` radians about z."""
    corners = np.array([[x, y] for x in bounds[:, 0] for y in bounds[:, 1]])
    cos, sin = np.cos(yaw), np.sin(yaw)
    corners = corners @ np.array([[cos, sin], [-sin, cos]])
    return np.array([[*corners.min(0), bounds[0, 2]], [*corners.max(0), bounds[1, 2]]])
