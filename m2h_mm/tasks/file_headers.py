"""What files of labels and predictions say of their content before it is decoded."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .mat_file import find_array

# A map of this many bytes, at four per number, has 268 million numbers: more than any label. What
# claims more is damaged or made to fill the memory.
LARGEST = 2**30
# Bytes that one byte expands to at most: deflate, in .png and .mat, reaches 1032. In a JPEG every
# block of 64 pixels takes a bit, which is 512.
DENSEST = 1033
TAIL = 4096  # bytes in which the end of a picture is looked for: writers may append a few
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
PALETTE = 3
_PNG = b'\x89PNG\r\n\x1a\n'
_NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_SIZELESS_JPEG = (0xD8, 0x01, *range(0xD0, 0xD8))
_JPEG_SIZES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}

# How files of other types begin, in the words of a message.
_BEGINNINGS = {
    b'\x89PNG': 'a PNG picture',
    b'\xff\xd8\xff': 'a JPEG picture',
    b'\x93NUMPY': 'a NumPy array (.npy)',
    b'PK\x03\x04': 'a ZIP archive, such as a .npz of NumPy',
    b'PK\x05\x06': 'an empty ZIP archive',
    b'MATLAB 5.0': 'a MATLAB file (.mat)',
    b'\x89HDF': 'an HDF5 file, such as a .mat of version 7.3',
    b'GIF8': 'a GIF picture',
    b'BM': 'a BMP picture',
    b'II*\0': 'a TIFF picture',
    b'MM\0*': 'a TIFF picture',
    b'RIFF': 'a WebP picture',
    b'\x1f\x8b': 'a gzip archive',
    b'v/1\x01': 'an OpenEXR picture',
    b'\x80': 'a pickle of Python',
    b'version https://git-lfs': 'a pointer of Git LFS: run git lfs pull',
    b'<': 'a page of text, such as a failed download',
    b'{': 'a text file',
}


class Header(NamedTuple):
    """Attributes:
    shape: as stored, ``(H, W)`` or ``(H, W, C)`` for a picture.
    bits: of one number of a picture, 0 otherwise.
    palette: a picture of indices into a palette.
    """

    shape: tuple[int, ...]
    bits: int = 0
    palette: bool = False


def read_header(path: Path) -> Header:
    """The header of a ``.npy``, ``.png``, ``.mat`` or ``.jpg``, by its suffix in any case.

    Raises:
        ValueError: another type of file, one that is cut off, that holds no numbers, or that would
            fill the memory. The message is the cause, without the file's name.
        Exception: whatever a decoder raises for a damaged file.
    """
    size = os.path.getsize(path)
    if size == 0:
        raise ValueError('it has zero bytes')
    with open(path, 'rb') as file:
        start = file.read(64)
    suffix = path.suffix.lower()
    reader, beginning = _READERS.get(suffix, (None, b''))
    if reader is None:
        raise ValueError(f'unknown file type {path.suffix!r}')
    # The first bytes of a .mat are free text.
    if not start.startswith(beginning) or suffix == '.mat' and start.startswith(b'\x89HDF'):
        raise ValueError(f'it is {_kind(start)}, not a {suffix}')
    header = reader(path)
    if any(length < 0 for length in header.shape):
        raise ValueError(f'its shape is {header.shape}')
    return header


def require_size(shape: tuple[int, ...], itemsize: int = 4) -> None:
    """Raise a ValueError where an array would fill the memory, or has no pixel."""
    if math.prod(shape) * max(itemsize, 4) > LARGEST:
        raise ValueError(
            f'it claims the shape {shape}, more than {LARGEST // 4} numbers, which no map has'
        )
    if math.prod(shape) == 0:
        raise ValueError(f'its shape is {shape}: there is no pixel')


def require_room(path: Path, least: float) -> None:
    """Raise a ValueError where a compressed file is too small for what its header announces.

    Args:
        path: the file.
        least: bytes that the numbers take at least, uncompressed.
    """
    size = os.path.getsize(path)
    if least > DENSEST * size:
        raise ValueError(f'it is damaged: {size} bytes cannot hold the {least:.0f} it announces')


def require_whole_png(data: bytes) -> None:
    """Raise a ValueError unless the chunks of a PNG lie in the file up to the last one: decoders
    reserve as much memory as a damaged length says.
    """
    position = len(_PNG)
    while position + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, position)
        position += 12 + length
        if name == b'IEND' and position <= len(data):
            return
    raise ValueError('it is cut off, or damaged in a chunk')


def require_numbers(dtype: np.dtype) -> None:
    """Raise a ValueError unless numbers of ``dtype`` are real, or True and False."""
    if dtype.names is not None:
        raise ValueError(f'it is a table with the columns {list(dtype.names)}, not one map')
    if dtype.kind not in 'biuf':
        kinds = dict(c='complex numbers', O='Python objects', M='dates', m='durations')
        raise ValueError(f'it holds {kinds.get(dtype.kind, "text or raw bytes")} ({dtype})')


def map_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``(H, W)`` or ``(H, W, 3)``, a single channel at either end left out.

    Raises:
        ValueError: any other shape.
    """
    if len(shape) == 3 and shape[2] != 3 and 1 in (shape[0], shape[2]):
        shape = shape[:2] if shape[2] == 1 else shape[1:]
    if len(shape) == 2 or len(shape) == 3 and shape[2] == 3:
        return shape
    hint = ': channels come last' if len(shape) == 3 and shape[0] == 3 else ''
    raise ValueError(f'its shape is {shape}, expected (H, W) or (H, W, 3){hint}')


def _kind(start: bytes) -> str:
    return next(
        (kind for beginning, kind in _BEGINNINGS.items() if start.startswith(beginning)),
        'of an unknown type or damaged at its beginning',
    )


def _npy(path: Path) -> Header:
    with open(path, 'rb') as file:
        version = np.lib.format.read_magic(file)
        if version not in _NPY_HEADERS:
            raise ValueError(f'version {version} of .npy, which is for tables, is not read')
        shape, _, dtype = _NPY_HEADERS[version](file)
        there = os.path.getsize(path) - file.tell()
    require_numbers(dtype)
    require_size(shape, dtype.itemsize)
    wanted = math.prod(shape) * dtype.itemsize
    if there < wanted:
        raise ValueError(f'it is cut off: {wanted} bytes of numbers are announced, {there} there')
    return Header(shape)


def _png(path: Path) -> Header:
    with open(path, 'rb') as file:
        start = file.read(33)
        if len(start) < 33 or start[12:16] != b'IHDR':
            raise ValueError('it is damaged: a PNG picture begins with its size')
        width, height, bits, kind = struct.unpack('>IIBB', start[16:26])
        channels = PNG_CHANNELS.get(kind)
        if channels is None:
            raise ValueError(f'it is damaged: colour type {kind}')
        require_size((height, width, channels))
        require_room(path, height * (width * channels * bits / 8))
        _require_end(file, b'IEND')
    return Header((height, width, channels), bits, kind == PALETTE)


def _jpg(path: Path) -> Header:
    with open(path, 'rb') as file:
        file.seek(2)
        while True:
            marker = file.read(2)
            if len(marker) < 2 or marker[0] != 0xFF:
                raise ValueError('it is damaged: no size is found')
            if marker[1] == 0xFF:  # fill bytes
                file.seek(-1, os.SEEK_CUR)
                continue
            if marker[1] in _SIZELESS_JPEG:
                continue
            (length,) = struct.unpack('>H', file.read(2))
            if marker[1] in _JPEG_SIZES:
                _, height, width = struct.unpack('>BHH', file.read(5))
                break
            file.seek(length - 2, os.SEEK_CUR)
        require_size((height, width, 3))
        require_room(path, height * width)
        _require_end(file, b'\xff\xd9')
    return Header((height, width, 3), 8)


def _require_end(file, end: bytes) -> None:
    length = file.seek(0, os.SEEK_END)
    file.seek(-min(TAIL, length), os.SEEK_END)
    if end not in file.read():
        raise ValueError('it is cut off')


def _mat(path: Path) -> Header:
    shape = find_array(path).shape
    require_size(shape)
    require_room(path, math.prod(shape))
    return Header(shape)


_READERS = {
    '.npy': (_npy, b'\x93NUMPY'),
    '.png': (_png, _PNG),
    '.jpg': (_jpg, b'\xff\xd8'),
    '.mat': (_mat, b''),
}
