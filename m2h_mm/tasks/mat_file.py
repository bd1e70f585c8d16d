"""Files of MATLAB, versions 4 to 7, that hold one array of numbers.

SciPy reads them too, but a damaged one can crash it, and it gives numbers in the type in which they
happen to be packed: whole metres come as uint8.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

_TEXT = 128  # bytes before the first variable, from version 5 on
_HEAD = 4096  # bytes of a variable in which its kind, shape and name are
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX, _LOGICAL = 0x0800, 0x0200
_LARGEST_NUMBER = 16  # bytes
_KINDS = {1: 'cell', 2: 'struct', 3: 'object', 4: 'char', 5: 'sparse', 16: 'function', 17: 'opaque'}
# Type of an array, and of the numbers that it is packed in, by their codes.
_ARRAYS = dict(enumerate('f8 f4 i1 u1 i2 u2 i4 u4 i8 u8'.split(), start=6))
_PACKED = {
    1: 'i1',
    2: 'u1',
    3: 'i2',
    4: 'u2',
    5: 'i4',
    6: 'u4',
    7: 'f4',
    9: 'f8',
    12: 'i8',
    13: 'u8',
}
_VERSION_4 = ('f8', 'f4', 'i4', 'i2', 'u2', 'u1')


class MatArray(NamedTuple):
    """Where the array of a file is.

    Attributes:
        name: of the variable.
        shape: of the array.
        dtype: that it has in MATLAB; bool of a logical array.
        order: ``'<'`` or ``'>'``, that of the bytes.
        start, length: of the variable in the file, bytes; of version 4 of the numbers.
        compressed: whether the variable is.
        packed: type of the numbers in the file, of version 4 only.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    order: str
    start: int
    length: int
    compressed: bool = False
    packed: str = ''


def find_array(path: Path) -> MatArray:
    """The one array in a file, from its header.

    Raises:
        ValueError: another number of variables, no array of real numbers, or it is cut off.
        Exception: something else that is damaged.
    """
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
        start = file.read(_TEXT)
        mark = start[126:128]
        found = (
            _variables(file, size, '<' if mark == b'IM' else '>')
            if mark in (b'IM', b'MI')
            else [_version_4(start, size)]
        )
    if len(found) != 1:
        raise ValueError(f'expected one variable, found {sorted(array.name for array in found)}')
    return found[0]


def read_mat(path: Path) -> np.ndarray:
    """The one array in a file, in the type that it has in MATLAB.

    Raises:
        ValueError: see :func:`find_array`; or it expands to more than its numbers.
        Exception: something else that is damaged.
    """
    array = find_array(path)
    with open(path, 'rb') as file:
        file.seek(array.start)
        data = file.read(array.length)
    count = math.prod(array.shape)
    if array.packed:
        packed, offset = array.packed, 0
    else:
        if array.compressed:
            inflater = zlib.decompressobj()
            data = inflater.decompress(data, _LARGEST_NUMBER * count + _HEAD)
            if inflater.unconsumed_tail:
                raise ValueError(f'it expands to more than its {count} numbers')
        kind, length, offset = _tag(data, _header(data, array.order)[1], array.order)
        packed = _PACKED[kind]
        if length != count * np.dtype(packed).itemsize:
            raise ValueError(f'it is damaged: {length} bytes of {packed} are not {count} numbers')
    numbers = np.frombuffer(data, array.order + packed, count, offset)
    return numbers.reshape(array.shape, order='F').astype(array.dtype, order='C')


def _variables(file: BinaryIO, size: int, order: str) -> list[MatArray]:
    found, position = [], _TEXT
    while position + 8 <= size:
        file.seek(position)
        kind, length = struct.unpack(f'{order}II', file.read(8))
        end = position + 8 + length
        if end > size:
            raise ValueError('it is cut off')
        if kind == _COMPRESSED:
            head = zlib.decompressobj().decompress(file.read(min(length, _HEAD)), _HEAD)
            start = position + 8
        elif kind == _MATRIX:
            file.seek(position)
            head, start = file.read(min(length + 8, _HEAD)), position
        else:
            raise ValueError(f'it is damaged: a variable of type {kind}')
        (name, shape, dtype), _ = _header(head, order)
        if name:  # what has no name is MATLAB's own
            found.append(
                MatArray(name, shape, dtype, order, start, end - start, kind == _COMPRESSED)
            )
        position = end
    return found


def _header(data: bytes, order: str) -> tuple[tuple[str, tuple[int, ...], np.dtype], int]:
    """Name, shape and type of a variable, and where its numbers begin."""
    kind, _, position = _tag(data, 0, order)
    if kind != _MATRIX:
        raise ValueError(f'it is damaged: a variable of type {kind}')
    parts = []
    for _ in range(3):
        _, length, start = _tag(data, position, order)
        parts.append(data[start : start + length])
        # A short part, of 8 bytes with its tag, has its numbers in the tag's second half.
        position = position + 8 if start == position + 4 else start + length + -length % 8
    (flags,) = struct.unpack_from(f'{order}I', parts[0])
    shape = tuple(np.frombuffer(parts[1], f'{order}i4').tolist())
    name = parts[2].decode('latin-1')
    code = flags & 0xFF
    if code not in _ARRAYS and name:
        raise ValueError(
            f'its variable {name!r} holds no numbers but is of the kind {_KINDS.get(code, code)}'
        )
    if flags & _COMPLEX:
        raise ValueError('it holds complex numbers')
    dtype = np.dtype(bool if flags & _LOGICAL else _ARRAYS.get(code, 'u1'))
    return (name, shape, dtype), position


def _tag(data: bytes, position: int, order: str) -> tuple[int, int, int]:
    """Type, length in bytes and begin of the part at ``position``."""
    kind, length = struct.unpack_from(f'{order}II', data, position)
    if kind >> 16:  # at most four bytes, which stand in the tag
        return kind & 0xFFFF, min(kind >> 16, 4), position + 4
    return kind, length, position + 8


def _version_4(start: bytes, size: int) -> MatArray:
    for order in '<>':
        kind, rows, columns, imaginary, name_length = struct.unpack_from(f'{order}5i', start)
        machine, rest = divmod(kind, 1000)
        if machine == '<>'.index(order) and 0 <= rest < 100:
            break
    else:
        raise ValueError('it is no file of MATLAB, or of a version that is not read')
    packed, content = divmod(rest, 10)
    if content or imaginary or packed >= len(_VERSION_4):
        raise ValueError('it holds no real numbers')
    dtype = np.dtype(_VERSION_4[packed])
    begin, length = 20 + name_length, rows * columns * dtype.itemsize
    if rows < 0 or columns < 0 or not 0 < name_length <= _HEAD:
        raise ValueError(f'it is damaged: its shape is {(rows, columns)}')
    if begin + length > size:
        raise ValueError('it is cut off')
    if begin + length < size:
        raise ValueError('expected one variable, found more')
    name = start[20 : begin - 1].decode('latin-1')
    return MatArray(name, (rows, columns), dtype, order, begin, length, packed=_VERSION_4[packed])
