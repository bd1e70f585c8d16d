"""The surface of triangles that a depth map describes, and its GLB file for browsers.

The writer is ours on purpose: trimesh writes colours as lit 8-bit values and takes sRGB for linear
light, which shows a photo's colours wrongly.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from m2h_mm.mapping.point_cloud import PointCloud
from m2h_mm.system import write_atomically

FLOAT32, UINT32, UINT16 = 5126, 5125, 5123  # as glTF numbers them
_JSON, _BINARY = 0x4E4F534A, 0x004E4942


def triangulate(
    cloud: PointCloud, camera: tuple[float, float, float, float], size: tuple[int, int]
) -> np.ndarray:
    """Triangles between pixels that lie next to one another. No triangle spans a pixel that the
    cloud leaves out.

    Args:
        cloud: of one view, at most one point per pixel.
        camera: (fx, fy, cx, cy) in pixels that it was made with.
        size: (H, W) of the depth map that it was made of.

    Returns:
        ``(M, 3)`` uint32 numbers of points, counter-clockwise as the camera sees them.
    """
    fx, fy, cx, cy = camera
    x, y, z = cloud.points.astype(np.float64).T
    rows, columns = np.rint(cy + fy * y / z).astype(int), np.rint(cx - fx * x / z).astype(int)
    points = np.full(size, -1)
    points[rows, columns] = np.arange(len(cloud.points))
    corner, below, right, across = (
        points[:-1, :-1],
        points[1:, :-1],
        points[:-1, 1:],
        points[1:, 1:],
    )
    triangles = np.concatenate(
        [
            np.stack(three, axis=-1).reshape(-1, 3)
            for three in ((corner, below, right), (right, below, across))
        ]
    )
    return triangles[(triangles >= 0).all(axis=1)].astype(np.uint32)


def write_glb(cloud: PointCloud, triangles: np.ndarray, path: str | Path) -> None:
    """Write a surface as binary glTF 2.0, its colours as they are, without lamps or shadows.

    Axes and unit are those of the cloud, which glTF shares: metres, y up, z toward the viewer.

    Args:
        cloud: the corners.
        triangles: ``(M, 3)`` numbers of points, M at least 1.
        path: of the file, whole or not there.

    Raises:
        ValueError: there is no triangle, which the format cannot say.
    """
    if not len(triangles):
        raise ValueError('write_glb: expected one triangle or more, got none.')
    colours = np.full((len(cloud.points), 4), np.iinfo(np.uint16).max, np.uint16)
    colours[:, :3] = np.rint(_linear(cloud.colours) * np.iinfo(np.uint16).max)
    arrays = (cloud.points.astype('<f4'), colours.astype('<u2'), triangles.astype('<u4'))
    starts = np.cumsum([0, *(array.nbytes for array in arrays)]).tolist()
    scene = dict(
        asset=dict(version='2.0', generator='m2h_mm'),
        scene=0,
        scenes=[dict(nodes=[0])],
        nodes=[dict(mesh=0)],
        meshes=[
            dict(primitives=[dict(attributes=dict(POSITION=0, COLOR_0=1), indices=2, material=0)])
        ],
        materials=[dict(doubleSided=True, extensions=dict(KHR_materials_unlit={}))],
        extensionsUsed=['KHR_materials_unlit'],
        accessors=[
            dict(
                bufferView=0,
                componentType=FLOAT32,
                count=len(cloud.points),
                type='VEC3',
                min=cloud.points.min(axis=0).tolist(),
                max=cloud.points.max(axis=0).tolist(),
            ),
            dict(
                bufferView=1, componentType=UINT16, normalized=True, count=len(colours), type='VEC4'
            ),
            dict(bufferView=2, componentType=UINT32, count=triangles.size, type='SCALAR'),
        ],
        bufferViews=[
            dict(buffer=0, byteOffset=start, byteLength=array.nbytes)
            for start, array in zip(starts, arrays, strict=False)
        ],
        buffers=[dict(byteLength=starts[-1])],
    )
    text = json.dumps(scene).encode()
    chunks = [
        (_JSON, text + b' ' * (-len(text) % 4)),
        (_BINARY, b''.join(array.tobytes() for array in arrays)),
    ]
    body = b''.join(struct.pack('<II', len(content), kind) + content for kind, content in chunks)
    write_atomically(path, struct.pack('<4sII', b'glTF', 2, 12 + len(body)) + body)


def _linear(colours: np.ndarray) -> np.ndarray:
    """sRGB 0..255 as linear light 0..1, which glTF expects of the colours of vertices."""
    values = colours / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
