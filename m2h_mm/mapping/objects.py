"""The things of a mesh: connected pieces of one class, with their boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from m2h_mm.mapping.mesh import Mesh
from m2h_mm.mapping.roles import Roles

_TRIM = 0.5
"""Per cent of an object's points at either end of an axis that are not believed."""


@dataclass
class MapObject:
    """A thing.

    Attributes:
        number: 0.. within the map.
        class_number, name: of its class.
        centroid: (3,) mean of its surface, metres.
        bounds: (2, 3) lower and upper corner of the box along the axes, metres.
        centre, size, yaw: of the upright box that fits best: (3,) and (3,) metres, radians from x
            to its first side.
        area: of its surface, square metres.
        share: 0..1, the mean part of the evidence that speaks for its class.
    """

    number: int
    class_number: int
    name: str
    centroid: np.ndarray
    bounds: np.ndarray
    centre: np.ndarray
    size: np.ndarray
    yaw: float
    area: float
    share: float


def find_objects(
    mesh: Mesh, roles: Roles, gap: float = 0.1, min_area: float = 0.04
) -> tuple[list[MapObject], np.ndarray]:
    """Pieces of one class that hang together, the largest first.

    Two things of one class that stand nearer to each other than ``gap`` are one.

    Args:
        mesh: the map.
        roles: what its classes are.
        gap: metres that a piece is bridged over.
        min_area: surface of a thing, square metres. What is smaller is left out.

    Returns:
        The things, and ``(N,)`` int: that of each point, -1 for none.
    """
    owner = np.full(len(mesh.points), -1)
    areas = np.bincount(
        mesh.triangles.reshape(-1), np.repeat(mesh.areas / 3, 3), minlength=len(mesh.points)
    )
    pieces = []
    for number in np.unique(mesh.classes[roles.thing[mesh.classes]]):
        members = np.flatnonzero(mesh.classes == number)
        for piece in _pieces(mesh.points[members], gap):
            if areas[members[piece]].sum() >= min_area:
                pieces.append((int(number), members[piece]))
    pieces.sort(key=lambda piece: -areas[piece[1]].sum())
    objects = []
    for index, (number, members) in enumerate(pieces):
        owner[members] = index
        points, weights = mesh.points[members].astype(np.float64), areas[members]
        low, high = np.percentile(points, (_TRIM, 100 - _TRIM), axis=0)
        inside = ((points[:, :2] >= low[:2]) & (points[:, :2] <= high[:2])).all(axis=1)
        (x, y), (width, depth), angle = cv2.minAreaRect(points[inside, :2].astype(np.float32))
        yaw = np.radians(angle)
        if depth > width:
            width, depth, yaw = depth, width, yaw + np.pi / 2
        objects.append(
            MapObject(
                number=index,
                class_number=number,
                name=roles.name(number),
                centroid=np.average(points, axis=0, weights=weights + 1e-12),
                bounds=np.stack([low, high]),
                centre=np.array([x, y, (low[2] + high[2]) / 2]),
                size=np.array([width, depth, high[2] - low[2]]),
                # A box turned by half a circle is the same.
                yaw=float((yaw + np.pi / 2) % np.pi - np.pi / 2),
                area=float(weights.sum()),
                share=float(np.average(mesh.shares[members], weights=weights + 1e-12)),
            )
        )
    return objects, owner


def _pieces(points: np.ndarray, gap: float) -> list[np.ndarray]:
    """Numbers of the points of each piece. Points count as the cells that they lie in, of half the
    gap.
    """
    cells, cell = np.unique(
        np.floor(points / (gap / 2)).astype(np.int64), axis=0, return_inverse=True
    )
    pairs = cKDTree(cells).query_pairs(2.01, output_type='ndarray')
    links = coo_matrix(
        (np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(cells),) * 2
    )
    count, piece = connected_components(links, directed=False)
    piece = piece[cell.reshape(-1)]
    order = np.argsort(piece, kind='stable')
    return np.split(order, np.cumsum(np.bincount(piece, minlength=count))[:-1])
