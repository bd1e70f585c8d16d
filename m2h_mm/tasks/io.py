"""Decoding of label files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def read_array(path: str | Path) -> np.ndarray:
    """Read a ``.png`` or ``.npy`` label as it is stored.

    Args:
        path: the file. PNG keeps its depth (8 or 16 bit); three channels come as RGB.

    Returns:
        ``(H, W)`` or ``(H, W, 3)``, the file's own dtype.

    Raises:
        ValueError: the file cannot be decoded, or is neither 2-D nor of three channels.
    """
    path = Path(path)
    try:
        if path.suffix == '.npy':
            array = np.load(path, allow_pickle=False)
        elif path.suffix == '.png':
            array = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
            if array is None:
                raise ValueError('not a PNG that can be decoded')
        else:
            raise ValueError(f'unknown file type {path.suffix!r}')
    except (ValueError, EOFError, cv2.error) as error:
        raise ValueError(f'Label file {path} cannot be read ({error}). Expected an intact .png or .npy: '
                         'restore the file, or delete it to train this frame without that label.') from error
    array = np.squeeze(array)
    if array.ndim == 3 and array.shape[2] == 3:
        return array[..., ::-1] if path.suffix == '.png' else array
    if array.ndim != 2:
        raise ValueError(f'Label file {path}: expected (H, W) or (H, W, 3), got {array.shape}.')
    return array


def require_dims(array: np.ndarray, ndim: int, path: str | Path, task: str) -> np.ndarray:
    """``array`` itself when it has ``ndim`` dimensions, else an error that names the file."""
    if array.ndim != ndim:
        expected = '(H, W)' if ndim == 2 else '(H, W, 3)'
        raise ValueError(f'Label file {path} of task {task!r}: expected {expected}, got {array.shape}. '
                         'Is it in the right folder?')
    return array
