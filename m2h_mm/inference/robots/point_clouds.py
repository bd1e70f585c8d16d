"""Depth as a PointCloud2 in the optical frame."""

from __future__ import annotations

from typing import Any

import numpy as np

FLOAT32, UINT32 = 7, 6  # as sensor_msgs/PointField counts
POINT = np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('rgb', '<u4'), ('label', '<u4')])
MAX_EDGE = 0.5
"""Probability of an edge from which on a pixel lies between two things."""


def cloud_points(
    depth: np.ndarray,
    camera: tuple[float, float, float, float],
    image: np.ndarray,
    labels: np.ndarray | None = None,
    edges: np.ndarray | None = None,
    step: int = 1,
) -> np.ndarray:
    """Back-project a depth map.

    Args:
        depth: ``(H, W)`` metres, not finite or 0 where it is not known.
        camera: (fx, fy, cx, cy) in pixels, pixel centres at integer coordinates.
        image: ``(H, W, 3)`` uint8 RGB.
        labels: ``(H, W)`` ids. Default: 0.
        edges: ``(H, W)`` probabilities; pixels on an edge are left out. Default: none is.
        step: every so manieth row and column.

    Returns:
        ``(N,)`` of the type :data:`POINT`: metres, x right, y down, z forward; ``rgb`` holds blue
        in its lowest byte, as RViz and PCL have it.
    """
    rows, columns = np.mgrid[: depth.shape[0] : step, : depth.shape[1] : step]
    z = depth[::step, ::step]
    keep = np.isfinite(z) & (z > 0)
    if edges is not None:
        keep &= edges[::step, ::step] <= MAX_EDGE
    rows, columns, z = rows[keep], columns[keep], z[keep].astype(np.float32)
    fx, fy, cx, cy = camera
    points = np.zeros(len(z), POINT)
    points['x'], points['y'], points['z'] = (columns - cx) / fx * z, (rows - cy) / fy * z, z
    red, green, blue = image[rows, columns].astype(np.uint32).T
    points['rgb'] = red << 16 | green << 8 | blue
    if labels is not None:
        points['label'] = labels[rows, columns]
    return points


def cloud_fields(points: np.ndarray) -> dict[str, Any]:
    """The fields of a ``sensor_msgs/PointCloud2`` but its header and the description of its
    columns, see :func:`columns`.
    """
    return dict(
        height=1,
        width=len(points),
        is_bigendian=False,
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * len(points),
        is_dense=True,
        data=points.view(np.uint8),
    )


def columns() -> list[dict[str, Any]]:
    """The fields of a ``sensor_msgs/PointField`` for each column. RViz wants ``rgb`` to be called a
    float.
    """
    return [
        dict(
            name=name,
            offset=POINT.fields[name][1],
            datatype=UINT32 if name == 'label' else FLOAT32,
            count=1,
        )
        for name in POINT.names
    ]
