"""Files of labels and predictions."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from m2h_mm.system import write_atomically
from m2h_mm.tasks.file_headers import (
    Header,
    map_shape,
    read_header,
    require_numbers,
    require_whole_png,
)
from m2h_mm.tasks.mat_file import read_mat

_WAY_OUT = (
    'Expected one map of real numbers, (H, W) or (H, W, 3), as an intact .png, .npy, .mat or .jpg: '
    'write the file again, or delete it to go on without it.'
)


def read_array(path: str | Path, colours: bool = False) -> np.ndarray:
    """Read a ``.png``, ``.npy``, ``.mat`` or ``.jpg`` map (suffix in any case) as it is stored.

    Args:
        path: the file. PNG keeps its depth: numbers of 2, 4, 8 or 16 bits, bool of 1; with a
            palette it gives the indices; opaque alpha is left out. MAT holds one variable. JPEG,
            which changes numbers, always has three channels: only normals can be read from it.
        colours: of a PNG with a palette, the colours instead of the indices.

    Returns:
        ``(H, W)`` or RGB ``(H, W, 3)``, the file's own dtype: integer, floating point or bool, in
        the order of bytes of this machine.

    Raises:
        ValueError: the file cannot be decoded, is of another type than its name says, would fill
            the memory, has no pixel, holds no real numbers, has transparent pixels, or is neither
            2-D nor of three channels.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    with _named_errors(path):
        header = read_header(path)
        suffix = path.suffix.lower()
        if suffix == '.npy':
            array = np.load(path, allow_pickle=False)
        elif suffix == '.mat':
            array = read_mat(path)
        elif suffix == '.png':
            array = _png(path, header, colours)
        else:
            # As stored: a turned photo's labels are told by their size.
            flag = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
            array = _decode(path.read_bytes(), flag)[..., ::-1]
        require_numbers(array.dtype)
        array = array.reshape(map_shape(array.shape))
    return array.astype(array.dtype.newbyteorder('='), copy=False)


def array_size(path: str | Path) -> tuple[int, int]:
    """``(H, W)`` of what :func:`read_array` reads, from the header; finds what can be found wrong
    without decoding, also files that are cut off.

    Raises:
        ValueError, OSError: see :func:`read_array`.
    """
    path = Path(path)
    with _named_errors(path):
        header = read_header(path)
        shape = header.shape if path.suffix.lower() in ('.png', '.jpg') else map_shape(header.shape)
        return shape[0], shape[1]


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Whatever a decoder raises is an error of this file."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of the system; without a name it is of a decoder that was led astray
        cause = str(error).rstrip('.') or type(error).__name__
        raise ValueError(f'File {path} cannot be read: {cause}. {_WAY_OUT}') from error


def require_dims(
    array: np.ndarray, ndim: int, path: str | Path, task: str, booleans: bool = False
) -> np.ndarray:
    """``array`` when it has ``ndim`` dimensions; one of three equal channels where two are asked.

    Args:
        array: of :func:`read_array`.
        ndim: 2 or 3.
        path: the file.
        task: name of the task, for the message.
        booleans: True and False are numbers of the task.

    Raises:
        ValueError: other dimensions, colours instead of numbers, a JPEG where numbers have to be
            exact, or True and False instead of numbers.
    """
    where = f'File {path} of task {task!r}'
    if array.dtype == bool and not booleans:
        raise ValueError(
            f'{where}: it holds True and False (bool), expected numbers. Save the values '
            'themselves.'
        )
    if array.ndim == ndim:
        return array
    if ndim == 3:
        raise ValueError(
            f'{where}: expected three channels, (H, W, 3), got one, {array.shape}. Is it a file of '
            'another task, or a picture of indices into a palette or of grey values? Save three '
            'channels.'
        )
    if Path(path).suffix.lower() == '.jpg':
        raise ValueError(
            f'{where}: JPEG changes numbers, so that they cannot be read back. Save them as .png '
            'or .npy, from the source, not from the .jpg.'
        )
    first = array[..., 0]
    if (array == first[..., None]).all():
        return first
    raise ValueError(
        f'{where}: its three channels differ: these are colours, expected one number per pixel, '
        '(H, W). Is it a picture of the labels instead of the labels, or a file of another task? '
        'Colours that stand for classes are read with a colour table, semseg.palette of '
        'label_formats or --prediction-format.'
    )


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


def _png(path: Path, header: Header, colours: bool) -> np.ndarray:
    data = path.read_bytes()
    require_whole_png(data)
    if header.palette:
        # OpenCV gives the colours of a palette only. Pillow is not on the way to --help.
        from PIL import Image

        with Image.open(io.BytesIO(data), formats=['PNG']) as image:
            return np.asarray(image.convert('RGB') if colours else image)
    array = _decode(data, cv2.IMREAD_UNCHANGED)
    if array.ndim == 3 and array.shape[2] == 4:
        if (array[..., 3] != np.iinfo(array.dtype).max).any():
            raise ValueError(
                'some of its pixels are transparent, which says nothing of a label. Save it '
                'without an alpha channel'
            )
        array = array[..., :3]
    if header.bits < 8:
        # They are decoded as shades of 0 to 255.
        array = array // np.uint8(255 // (2**header.bits - 1))
        array = array.astype(bool) if header.bits == 1 else array
    return array[..., ::-1] if array.ndim == 3 else array


def _decode(data: bytes, flag: int) -> np.ndarray:
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if array is None:
        raise ValueError('the picture is damaged')
    return array
