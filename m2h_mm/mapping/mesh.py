"""The surface of a volume as triangles, with colours and classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from m2h_mm.mapping.depth_mesh import write_glb
from m2h_mm.mapping.fusion_kernels import SIDE, UNKNOWN
from m2h_mm.mapping.ply import write_ply
from m2h_mm.mapping.point_cloud import PointCloud
from m2h_mm.mapping.volume import Volume

Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
"""Points times this have y up in the place of z."""
CHUNK = 8
"""Blocks along the boxes in which the surface is looked for."""
_STEEPEST = 1.5


@dataclass
class Mesh:
    """Triangles in the world of the poses.

    Attributes:
        points: ``(N, 3)`` float32, metres.
        triangles: ``(M, 3)`` uint32 numbers of points, counter-clockwise as the free side sees
            them.
        colours: ``(N, 3)`` uint8 RGB.
        classes: ``(N,)`` uint8, 255 where not known.
        shares: ``(N,)`` float32 0..1, the part of the evidence that speaks for the class.
    """

    points: np.ndarray
    triangles: np.ndarray
    colours: np.ndarray
    classes: np.ndarray
    shares: np.ndarray

    @cached_property
    def crosses(self) -> np.ndarray:
        """``(M, 3)`` float64 normals of the triangles, of twice their area as length."""
        first, second, third = self.points[self.triangles].astype(np.float64).transpose(1, 0, 2)
        return np.cross(second - first, third - first)

    @cached_property
    def areas(self) -> np.ndarray:
        """``(M,)`` square metres."""
        return np.linalg.norm(self.crosses, axis=1) / 2

    @cached_property
    def point_normals(self) -> np.ndarray:
        """``(N, 3)`` float32 unit vectors, the mean of the triangles around a point."""
        total = np.zeros((len(self.points), 3))
        for corner in self.triangles.T:
            for axis in range(3):
                total[:, axis] += np.bincount(corner, self.crosses[:, axis], len(self.points))
        length = np.linalg.norm(total, axis=1, keepdims=True)
        return (total / np.maximum(length, 1e-12)).astype(np.float32)

    def write_ply(self, path: str | Path) -> None:
        """Write a binary PLY file with colours, classes (``label``) and triangles."""
        columns = {
            ('x', 'y', 'z'): self.points,
            ('nx', 'ny', 'nz'): self.point_normals,
            ('red', 'green', 'blue'): self.colours,
            ('label',): self.classes,
        }
        write_ply(path, columns, 'metres, in the world of the poses', self.triangles)

    def write_glb(self, path: str | Path) -> None:
        """Write a GLB file with colours. Its y axis is the world's z, up, as glTF has it."""
        cloud = PointCloud(self.points @ Y_UP, self.colours, self.point_normals @ Y_UP)
        write_glb(cloud, self.triangles, path)


def extract_mesh(volume: Volume, min_weight: float = 0.05) -> Mesh:
    """The surface where the distance is 0, by marching cubes (Lewiner et al. 2003).

    It is looked for in boxes of 8 x 8 x 8 blocks that share a layer of voxels, so that any map fits
    into memory; what two boxes find on their common layer is one.

    Args:
        volume: the map.
        min_weight: observations from one metre that all voxels around a triangle must have.

    Raises:
        ImportError: scikit-image is not installed.
    """
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise ImportError(
            'Meshes need scikit-image: pip install scikit-image, or m2h_mm[mapping].'
        ) from error
    points, triangles, total = [np.zeros((0, 3))], [np.zeros((0, 3), np.int64)], 0
    # A true distance changes by no more than one voxel from corner to corner; where it jumps, two
    # sides of something meet that no frame has seen between.
    most = _STEEPEST * np.sqrt(3) * volume.voxel / volume.truncation
    for chunk in np.unique(volume.places // CHUNK, axis=0):
        low = chunk * CHUNK
        distance, weight = (
            array[tuple([slice(CHUNK * SIDE + 1)] * 3)]
            for array in volume.dense(low, (CHUNK + 1,) * 3)
        )
        least, largest, known = (
            _over_corners(array, function)
            for array, function in (
                (distance, np.minimum),
                (distance, np.maximum),
                (weight, np.minimum),
            )
        )
        crossed = (least <= 0) & (largest > 0) & (known >= min_weight) & (largest - least <= most)
        if not crossed.any():
            continue
        mask = np.zeros(distance.shape, bool)
        mask[1:, 1:, 1:] = crossed
        found, faces, _, _ = marching_cubes(distance, 0.0, mask=mask, gradient_direction='descent')
        points.append(found.astype(np.float64) + low * SIDE)
        triangles.append(faces + total)
        total += len(found)
    at, faces = _join(np.concatenate(points), np.concatenate(triangles))
    return Mesh(
        points=(at * volume.voxel).astype(np.float32),
        triangles=faces.astype(np.uint32),
        **_attributes(volume, at),
    )


def _over_corners(array: np.ndarray, function: np.ufunc) -> np.ndarray:
    """Least or largest value at the eight corners of each cell, ``(n - 1, n - 1, n - 1)``."""
    array = function(array[1:], array[:-1])
    array = function(array[:, 1:], array[:, :-1])
    return function(array[:, :, 1:], array[:, :, :-1])


def _join(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One point for those that two boxes have found at the same place, in voxels."""
    _, first, number = np.unique(
        np.rint(points * 1024).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    triangles = number.reshape(-1)[triangles]
    whole = (triangles != np.roll(triangles, 1, axis=1)).all(axis=1)
    return points[first], triangles[whole]


def _attributes(volume: Volume, at: np.ndarray) -> dict[str, np.ndarray]:
    """Colours and classes at points, ``(N, 3)`` in voxels: those of the nearest voxel that has
    any.
    """
    low, high = np.floor(at).astype(np.int64), np.ceil(at).astype(np.int64)
    nearest = np.rint(at).astype(np.int64)
    first, second = volume.look_up(nearest), volume.look_up(low + high - nearest)
    without = first['classes'][:, 0] == UNKNOWN
    classes, shares = (
        np.where(without, second[name][:, 0], first[name][:, 0]) for name in ('classes', 'shares')
    )
    black = (first['colour'] == 0).all(axis=1)
    colours = np.where(black[:, None], second['colour'], first['colour'])
    return dict(colours=colours, classes=classes, shares=shares)
