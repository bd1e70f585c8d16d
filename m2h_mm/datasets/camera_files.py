"""The camera of a file: four numbers, or a matrix, in one of the usual forms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2h_mm.geometry.pinhole import check_camera
from m2h_mm.system.text import read_text
from m2h_mm.tasks.files import read_array

_MOST_BYTES = 2**16


def read_camera_file(source: Any, key: str) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) in pixels.

    Args:
        source: the numbers themselves, or the path of a file: text with numbers between blanks,
            commas or line ends, ``.json`` with lists of numbers, or ``.npy``. They are fx, fy, cx,
            cy, or the matrix of 3x3, 3x4 or 4x4 that has them.
        key: what it is, for messages.

    Raises:
        ValueError: something else, or numbers that no camera has.
    """
    try:
        numbers = _numbers(source) if isinstance(source, (str, Path)) else source
        values = np.asarray(numbers, dtype=np.float64).ravel()
        if values.size == 4:
            camera = values
        elif values.size in (9, 12, 16):
            camera = _of_matrix(values.reshape(3 if values.size < 16 else 4, -1))
        else:
            raise ValueError(f'there are {values.size} numbers')
        camera = tuple(map(float, camera))
        check_camera(*camera)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f'{key}: expected fx, fy, cx, cy in pixels, or a camera matrix of 3x3 or 4x4 ({error}).'
        ) from None
    return camera


def _of_matrix(matrix: np.ndarray) -> Sequence[float]:
    rest = np.array([matrix[0, 1], matrix[1, 0], matrix[2, 0], matrix[2, 1], matrix[2, 2] - 1])
    if np.abs(rest).max() > 1e-6 * max(abs(matrix[0, 0]), 1):
        raise ValueError('the matrix is not [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]')
    return matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]


def _numbers(path: str | Path) -> Any:
    path = Path(path)
    if path.suffix.lower() == '.npy':
        return read_array(path)
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f'the file has {path.stat().st_size} bytes')
    text = read_text(path)
    if path.suffix.lower() == '.json':
        return json.loads(text)
    return [float(word) for word in text.replace(',', ' ').split()]
