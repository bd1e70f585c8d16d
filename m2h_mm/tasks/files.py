"""Files of labels and predictions."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from m2h_mm.system import write_atomically
from m2h_mm.tasks.doubt import Doubt

_MAT_HEADER = 136  # bytes: 128 of the file, 8 of the first variable, which tell its length


def read_array(path: str | Path) -> np.ndarray:
    """Read a ``.png``, ``.npy``, ``.mat`` or ``.jpg`` map as it is stored.

    Args:
        path: the file. PNG keeps its depth (8 or 16 bit); three channels come as RGB. MAT holds one
            variable. JPEG, which changes numbers, always has three channels: only normals can be
                read from it.

    Returns:
        ``(H, W)`` or ``(H, W, 3)``, the file's own dtype.

    Raises:
        ValueError: the file cannot be decoded, or is neither 2-D nor of three channels.
    """
    path = Path(path)
    try:
        if path.suffix == '.npy':
            array = np.load(path, allow_pickle=False)
        elif path.suffix in ('.png', '.jpg'):
            flag = cv2.IMREAD_UNCHANGED if path.suffix == '.png' else cv2.IMREAD_COLOR
            array = cv2.imdecode(np.fromfile(path, np.uint8), flag)
            if array is None:
                raise ValueError('not a picture that can be decoded')
        elif path.suffix == '.mat':
            array = _only_variable(path)
        else:
            raise ValueError(f'unknown file type {path.suffix!r}')
    except (ValueError, EOFError, NotImplementedError, TypeError, IndexError, cv2.error) as error:
        raise ValueError(
            f'File {path} cannot be read ({error}). Expected an intact .png, .npy, .mat or .jpg: '
            'restore the file, or delete it to go on without it.'
        ) from error
    if array.ndim == 3 and array.shape[2] != 3 and 1 in (array.shape[0], array.shape[2]):
        array = array[..., 0] if array.shape[2] == 1 else array[0]
    if array.ndim == 3 and array.shape[2] == 3:
        return array[..., ::-1] if path.suffix in ('.png', '.jpg') else array
    if array.ndim != 2:
        raise ValueError(f'File {path}: expected (H, W) or (H, W, 3), got {array.shape}.')
    return array


def require_dims(array: np.ndarray, ndim: int, path: str | Path, task: str) -> np.ndarray:
    """``array`` itself when it has ``ndim`` dimensions, else an error that names the file."""
    if array.ndim != ndim:
        expected = '(H, W)' if ndim == 2 else '(H, W, 3)'
        raise ValueError(
            f'File {path} of task {task!r}: expected {expected}, got {array.shape}. Is it in the '
            'right folder?'
        )
    return array


def write_array(array: np.ndarray, path: str | Path) -> None:
    """Write what :func:`read_array` reads back; the folder is made, and the file is either whole or
    not there.

    Args:
        array: ``(H, W)`` or RGB ``(H, W, 3)``; uint8 or uint16 for ``.png``, anything for ``.npy``.
        path: ends in ``.png`` or ``.npy``.
    """
    path = Path(path)
    if path.suffix == '.npy':
        buffer = io.BytesIO()
        np.save(buffer, array)
        data = buffer.getvalue()
    elif path.suffix == '.png' and array.dtype in (np.uint8, np.uint16):
        data = cv2.imencode('.png', array[..., ::-1] if array.ndim == 3 else array)[1].tobytes()
    else:
        raise ValueError(
            f'{path}: expected a name ending in .npy, or in .png for uint8 or uint16; got '
            f'{array.dtype}.'
        )
    write_atomically(path, data)


def mat_shape(path: str | Path) -> tuple[int, ...]:
    """The shape of the one variable of a ``.mat`` file, from its header.

    Raises:
        ValueError: not such a file, another number of variables, or the file is cut off.
    """
    try:
        variables = scipy.io.whosmat(path)
        with open(path, 'rb') as file:
            header = file.read(_MAT_HEADER)
    except (MatReadError, NotImplementedError, TypeError, zlib.error) as error:
        raise ValueError(str(error)) from error
    if len(variables) != 1:
        raise ValueError(f'expected one variable, found {sorted(name for name, _, _ in variables)}')
    order = '<' if header[126:128] == b'IM' else '>'
    (length,) = struct.unpack(f'{order}I', header[132:_MAT_HEADER])
    if os.path.getsize(path) < _MAT_HEADER + length:
        raise ValueError('it is cut off')
    return variables[0][1]


def _only_variable(path: Path) -> np.ndarray:
    try:
        content = scipy.io.loadmat(path)
    except (OSError, MatReadError, zlib.error) as error:
        if not path.is_file():
            raise
        raise ValueError(str(error)) from error
    variables = {name: value for name, value in content.items() if not name.startswith('__')}
    if len(variables) != 1:
        raise ValueError(f'expected one variable, found {sorted(variables)}')
    return next(iter(variables.values()))


def largest_binary(stored: np.ndarray, path: str | Path) -> int:
    """What stands for yes in a file of yes and no: 255 in an 8-bit ``.png``, else 1."""
    return 255 if stored.dtype == np.uint8 and Path(path).suffix == '.png' else 1


def odd_binary_values(path: Path) -> Doubt:
    """Where a file of yes and no holds something in between."""
    stored = read_array(path)
    largest = largest_binary(stored, path)
    return Doubt(f'other values than 0 and {largest}', (stored != 0) & (stored != largest))


def read_probability(path: str | Path, task: str) -> np.ndarray:
    """A map of probabilities ``(H, W)`` float32; integers are fractions of their type's largest
    value.

    Raises:
        ValueError: not ``(H, W)``, or values outside 0..1.
    """
    stored = require_dims(read_array(path), 2, path, task)
    if np.issubdtype(stored.dtype, np.integer):
        return stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)
    if stored.size and not (stored.min() >= 0 and stored.max() <= 1):
        raise ValueError(
            f'File {path} of task {task!r}: expected probabilities in 0..1, got '
            f'{stored.min()}..{stored.max()}. Apply the sigmoid before saving.'
        )
    return stored.astype(np.float32)


def probability_to_png(probability: np.ndarray) -> np.ndarray:
    """Probabilities as uint8, rounded to multiples of 1/255."""
    return np.rint(np.clip(probability, 0, 1) * 255).astype(np.uint8)
