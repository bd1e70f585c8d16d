"""Which way is up in a map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2h_mm.mapping.mesh import Mesh
from m2h_mm.mapping.roles import Roles

_LEAST = 0.5
"""Square metres of floor that are enough to say."""


def estimate_up(mesh: Mesh, roles: Roles) -> np.ndarray | None:
    """(3,) unit vector, the normal of what is floor by its class; None where too little is.

    The mean of all normals is taken first, then that of those within 25 degrees of it.
    """
    if not roles.known or not len(mesh.triangles):
        return None
    crosses = mesh.crosses[roles.floor[mesh.classes[mesh.triangles]].all(axis=1)]
    areas = np.linalg.norm(crosses, axis=1) / 2
    for _ in range(4):
        if areas.sum() < _LEAST:
            return None
        total = crosses.sum(axis=0)
        up = total / np.linalg.norm(total)
        near = crosses @ up > np.cos(np.radians(25)) * 2 * areas
        crosses, areas = crosses[near], areas[near]
    return up


def upright(up: np.ndarray) -> np.ndarray:
    """(4, 4) rotation that brings ``up`` to z by the shortest way.

    Raises:
        ValueError: it is no direction.
    """
    up = np.asarray(up, np.float64)
    length = np.linalg.norm(up)
    if up.shape != (3,) or not np.isfinite(length) or length < 1e-9:
        raise ValueError(f'up: expected a direction of three numbers, got {up.tolist()}.')
    x, y, z = up / length
    pose = np.eye(4)
    if z < -1 + 1e-9:
        pose[1, 1] = pose[2, 2] = -1
    else:
        cross = np.array([[0, 0, -x], [0, 0, -y], [x, y, 0]])
        pose[:3, :3] = np.eye(3) + cross + cross @ cross / (1 + z)
    return pose


def moved(mesh: Mesh, pose: np.ndarray) -> Mesh:
    """The mesh in another world, by a rigid ``(4, 4)``."""
    points = mesh.points.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    return replace(mesh, points=points.astype(np.float32))
