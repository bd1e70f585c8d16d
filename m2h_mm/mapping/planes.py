"""The floor, the ceiling and the walls of a mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from m2h_mm.mapping.mesh import Mesh
from m2h_mm.mapping.roles import Roles

_LEVEL = np.cos(np.radians(25))
_UPRIGHT = np.sin(np.radians(15))
_ALIKE = np.cos(np.radians(20))
"""Between a triangle's normal and that of its plane, at most."""
_YAWS = 120  # bins of 3 degrees
_LEAST_LEVEL = 0.3
"""Square metres that a floor or a ceiling needs."""
_STRONG = 0.25  # of the largest area at one height


@dataclass
class Plane:
    """A flat part of the room.

    Attributes:
        kind: 'floor', 'ceiling' or 'wall'.
        normal: (3,) unit vector into the room.
        offset: ``normal . p`` of its points, metres.
        area: square metres of the mesh that lie on it.
        corners: (4, 3) of the rectangle around them, metres.
    """

    kind: str
    normal: np.ndarray
    offset: float
    area: float
    corners: np.ndarray


class _Triangles:
    """Middles, unit normals, areas and classes of triangles."""

    def __init__(self, mesh: Mesh) -> None:
        self.middles = mesh.points[mesh.triangles].mean(axis=1, dtype=np.float64)
        self.areas = mesh.areas
        self.normals = mesh.crosses / np.maximum(2 * self.areas, 1e-12)[:, None]
        self.classes = mesh.classes[mesh.triangles[:, 0]] if len(mesh.points) else np.zeros(0, int)


def find_planes(
    mesh: Mesh, roles: Roles, tolerance: float = 0.06, least_wall: float = 0.5
) -> tuple[list[Plane], np.ndarray]:
    """Floor, ceiling and walls; z is up.

    Where classes have names, the floor is where most of what is floor and looks up lies; where they
    have none, the lowest height with much that looks up. The ceiling is its counterpart. Walls are
    the strongest peaks of a Hough transform of the upright triangles, by bearing and distance, one
    after the other; each is fitted to its triangles by least squares.

    Args:
        mesh: the map.
        roles: what its classes are.
        tolerance: of a plane's triangles from it, metres.
        least_wall: area of a wall, square metres.

    Returns:
        The planes, and ``(M,)`` int: the plane of each triangle, -1 for none.
    """
    triangles = _Triangles(mesh)
    planes: list[Plane] = []
    owner = np.full(len(mesh.triangles), -1)

    def add(kind: str, start: tuple[np.ndarray, float], wanted: np.ndarray) -> bool:
        free = wanted & (owner < 0)
        fitted = _fit(triangles, free, *start, tolerance)
        if fitted is None:
            return False
        normal, offset, members = fitted
        area = float(triangles.areas[members].sum())
        if kind == 'wall' and area < least_wall:
            return False
        owner[members] = len(planes)
        corners = _rectangle(triangles.middles[members], normal, offset)
        planes.append(Plane(kind, normal, offset, area, corners))
        return True

    for kind, sign, table in (('floor', 1.0, roles.floor), ('ceiling', -1.0, roles.ceiling)):
        wanted = sign * triangles.normals[:, 2] > _LEVEL
        if roles.known:
            wanted &= table[triangles.classes]
        height = _height(triangles, wanted, sign, tolerance, lowest=not roles.known)
        if height is not None:
            add(kind, (np.array([0, 0, sign]), sign * height), wanted)
    upright = np.abs(triangles.normals[:, 2]) < _UPRIGHT
    if roles.known:
        upright &= roles.wall[triangles.classes]
    _find_walls(triangles, upright, owner, tolerance, least_wall, add)
    return planes, owner


def _height(
    triangles: _Triangles, wanted: np.ndarray, sign: float, tolerance: float, lowest: bool
) -> float | None:
    """Of the floor (sign 1) or the ceiling (-1), metres."""
    heights, areas = triangles.middles[wanted, 2], triangles.areas[wanted]
    if areas.sum() < _LEAST_LEVEL:
        return None
    bins = np.floor((heights - heights.min()) / tolerance).astype(int)
    totals = np.bincount(bins, areas)
    strong = np.flatnonzero(totals >= (_STRONG if lowest else 1) * totals.max())
    chosen = strong[0] if sign > 0 else strong[-1]
    inside = np.abs(bins - chosen) <= 1
    return float(np.average(heights[inside], weights=areas[inside]))


def _find_walls(
    triangles: _Triangles,
    upright: np.ndarray,
    owner: np.ndarray,
    tolerance: float,
    least: float,
    add: Callable,
) -> None:
    bearing = np.arctan2(triangles.normals[:, 1], triangles.normals[:, 0])
    yaws = np.floor((bearing + np.pi) / (2 * np.pi) * _YAWS).astype(int) % _YAWS
    angles = (np.arange(_YAWS) + 0.5) / _YAWS * 2 * np.pi - np.pi
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    refused: set[tuple[int, int]] = set()
    while True:
        free = np.flatnonzero(upright & (owner < 0))
        if triangles.areas[free].sum() < least:
            return
        # The bin of the bearing says along which direction the distance is taken: neighbouring
        # bins vote as well, as the bearing of noisy triangles scatters.
        votes: dict[tuple[int, int], float] = {}
        for shift in (-1, 0, 1):
            yaw = (yaws[free] + shift) % _YAWS
            along = (triangles.middles[free, :2] * directions[yaw]).sum(axis=1)
            key = np.stack([yaw, np.floor(along / tolerance).astype(int)], axis=1)
            places, number = np.unique(key, axis=0, return_inverse=True)
            for place, total in zip(
                map(tuple, places.tolist()),
                np.bincount(number.reshape(-1), triangles.areas[free]),
                strict=True,
            ):
                votes[place] = votes.get(place, 0.0) + total
        best = max((key for key in votes if key not in refused), key=votes.get, default=None)
        if best is None or votes[best] < 0.3 * least:
            return
        normal = np.array([*directions[best[0]], 0.0])
        if not add('wall', (normal, (best[1] + 0.5) * tolerance), upright):
            refused.add(best)


def _fit(
    triangles: _Triangles, free: np.ndarray, normal: np.ndarray, offset: float, tolerance: float
) -> tuple[np.ndarray, float, np.ndarray] | None:
    """The plane of the triangles near another: its normal, its offset, and their numbers."""
    for _ in range(4):
        near = np.abs(triangles.middles @ normal - offset) < tolerance
        members = np.flatnonzero(free & near & (triangles.normals @ normal > _ALIKE))
        if len(members) < 3:
            return None
        middles, areas = triangles.middles[members], triangles.areas[members]
        mean = np.average(middles, axis=0, weights=areas)
        spread = (middles - mean) * np.sqrt(areas)[:, None]
        values, axes = np.linalg.eigh(spread.T @ spread)
        # A strip as thin as the tolerance says nothing of the direction across it.
        if values[1] > 0 and values[0] < 0.1 * values[1]:
            turned = axes[:, 0] * np.sign(axes[:, 0] @ normal)
            if turned @ normal > _ALIKE:
                normal = turned
        offset = float(mean @ normal)
    return normal, offset, members


def _rectangle(points: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    """(4, 3) corners around points on a plane, one side level."""
    level = np.cross((0.0, 0.0, 1.0), normal)
    level = level / np.linalg.norm(level) if np.linalg.norm(level) > 0.5 else np.array([1.0, 0, 0])
    level -= normal * (level @ normal)
    level /= np.linalg.norm(level)
    other = np.cross(normal, level)
    first, second = points @ level, points @ other
    return np.array(
        [
            a * level + b * other + offset * normal
            for a, b in (
                (first.min(), second.min()),
                (first.max(), second.min()),
                (first.max(), second.max()),
                (first.min(), second.max()),
            )
        ]
    )
