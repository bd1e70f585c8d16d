"""Coloured point clouds from depth maps, their files and pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from m2h_mm.geometry.pinhole import backproject, check_camera, normals_from_depth
from m2h_mm.mapping.ply import write_ply

MIN_COSINE = 0.1
"""Between a surface and the ray that sees it: below, the "surface" is the step between two things,
not one of them.
"""


@dataclass
class PointCloud:
    """Points in the camera frame: x right, y up, z toward the camera, which is at the origin.

    Attributes:
        points: ``(N, 3)`` float32, metres.
        colours: ``(N, 3)`` uint8 RGB.
        normals: ``(N, 3)`` float32 unit vectors.
    """

    points: np.ndarray
    colours: np.ndarray
    normals: np.ndarray

    def write_ply(self, path: str | Path) -> None:
        """Write a binary PLY file, which is whole or not there."""
        columns = {
            ('x', 'y', 'z'): self.points,
            ('nx', 'ny', 'nz'): self.normals,
            ('red', 'green', 'blue'): self.colours,
        }
        write_ply(path, columns, 'metres; x right, y up, z toward the camera')


def draw_cloud(
    cloud: PointCloud,
    yaw: float = 25.0,
    pitch: float = 20.0,
    size: tuple[int, int] = (480, 640),
    fov: float = 50.0,
) -> np.ndarray:
    """A picture of a cloud seen from beside and above, each point a square of two pixels, the
    nearest in front.

    Args:
        cloud: the points.
        yaw, pitch: degrees by which the viewer moves to the right and up around the middle of the
            cloud.
        size: (H, W) of the picture.
        fov: horizontal field of view in degrees.

    Returns:
        ``(H, W, 3)`` uint8 RGB, white where there is no point.
    """
    picture = np.full((*size, 3), 255, np.uint8)
    if not len(cloud.points):
        return picture
    middle = np.median(cloud.points, axis=0)
    a, b = math.radians(yaw), math.radians(-pitch)
    turn_y = np.array([[math.cos(a), 0, -math.sin(a)], [0, 1, 0], [math.sin(a), 0, math.cos(a)]])
    turn_x = np.array([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]])
    points = (cloud.points - middle) @ (turn_x @ turn_y).T
    # Far enough for nearly all of the cloud to be seen.
    focal = size[1] / 2 / math.tan(math.radians(fov) / 2)
    reach = np.percentile(np.abs(points[:, :2]) / (size[1] / 2, size[0] / 2), 98, axis=0).max()
    distance = points[:, 2].max() * 0.5 + 1.1 * reach * focal
    depth = distance - points[:, 2]
    seen = depth > 0.05
    points, depth, colours = points[seen], depth[seen], cloud.colours[seen]
    columns = np.rint(size[1] / 2 + focal * points[:, 0] / depth).astype(int)
    rows = np.rint(size[0] / 2 - focal * points[:, 1] / depth).astype(int)
    order = np.argsort(-depth, kind='stable')
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        at = (rows[order] + down, columns[order] + right)
        inside = (at[0] >= 0) & (at[0] < size[0]) & (at[1] >= 0) & (at[1] < size[1])
        picture[at[0][inside], at[1][inside]] = colours[order][inside]
    return picture


def point_cloud(
    depth: np.ndarray,
    camera: tuple[float, float, float, float],
    colours: np.ndarray,
    normals: np.ndarray | None = None,
    edges: np.ndarray | None = None,
    max_edge: float = 0.5,
    max_depth: float = math.inf,
) -> PointCloud:
    """Back-project a depth map.

    Left out are pixels without depth, and those between two things ("flying pixels"): where the
    surface that the depth describes is seen at a grazing angle, or the network says that there is
    an edge.

    Args:
        depth: ``(H, W)`` metres along the optical axis, 0 where not known.
        camera: (fx, fy, cx, cy) in pixels, pixel centres at integer coordinates.
        colours: ``(H, W, 3)`` uint8.
        normals: ``(H, W, 3)`` unit vectors in the camera frame. Default: those of the depth.
        edges: ``(H, W)`` probabilities. Default: not looked at.
        max_edge: probability beyond which a pixel is left out.
        max_depth: metres beyond which a pixel is left out.

    Raises:
        ValueError: a camera that cannot be, see :func:`~m2h_mm.geometry.pinhole.check_camera`.
    """
    fx, fy, cx, cy = camera
    check_camera(fx, fy, cx, cy, depth.shape)
    cam2img = torch.tensor([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]], dtype=torch.float64)
    map = torch.from_numpy(depth.astype(np.float64))[None, None]
    points = backproject(map, cam2img)[0].permute(1, 2, 0).numpy()
    keep = (depth > 0) & (depth <= max_depth)
    if min(depth.shape) > 1:
        surface = normals_from_depth(map, cam2img)[0].permute(1, 2, 0).numpy()
        distance = np.linalg.norm(points, axis=2).clip(1e-9)
        keep &= -(surface * points).sum(axis=2) / distance > MIN_COSINE
    else:
        surface = np.broadcast_to((0.0, 0.0, 1.0), points.shape)
    if edges is not None:
        keep &= edges <= max_edge
    normals = surface if normals is None else normals
    return PointCloud(
        points[keep].astype(np.float32), colours[keep], normals[keep].astype(np.float32)
    )
