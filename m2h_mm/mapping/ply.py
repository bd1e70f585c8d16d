"""PLY files of points and of triangles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from m2h_mm.system import write_atomically

_KINDS = {'<f4': 'float', 'u1': 'uchar'}


def write_ply(
    path: str | Path,
    columns: Mapping[tuple[str, ...], np.ndarray],
    comment: str,
    triangles: np.ndarray | None = None,
) -> None:
    """Write a binary PLY file, which is whole or not there.

    Args:
        path: of the file.
        columns: names of a point's properties, to their values ``(N, names)``, or ``(N,)`` for one
            name: whole numbers 0..255 as uint8, all else float32.
        comment: a line for whoever opens the file in an editor.
        triangles: ``(M, 3)`` numbers of points. Default: points alone.
    """
    kinds = {
        name: 'u1' if values.dtype == np.uint8 else '<f4'
        for names, values in columns.items()
        for name in names
    }
    count = len(next(iter(columns.values())))
    vertices = np.empty(count, list(kinds.items()))
    for names, values in columns.items():
        for name, column in zip(names, values.reshape(count, len(names)).T, strict=True):
            vertices[name] = column
    properties = ''.join(f'property {_KINDS[kind]} {name}\n' for name, kind in kinds.items())
    header = (
        f'ply\nformat binary_little_endian 1.0\ncomment {comment}\n'
        f'element vertex {count}\n{properties}'
    )
    body = vertices.tobytes()
    if triangles is not None:
        header += f'element face {len(triangles)}\nproperty list uchar int vertex_indices\n'
        faces = np.empty(len(triangles), [('count', 'u1'), ('corners', '<i4', 3)])
        faces['count'], faces['corners'] = 3, triangles
        body += faces.tobytes()
    write_atomically(path, f'{header}end_header\n'.encode() + body)
