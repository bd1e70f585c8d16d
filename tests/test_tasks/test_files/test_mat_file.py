"""Files of MATLAB: read as SciPy wrote them, in the type of the array, and no damage crashes."""

import io
import random
import struct

import numpy as np
import pytest
import scipy.io

from m2h_mm.tasks.files import array_size, read_array

DTYPES = 'f8 f4 i1 u1 i2 u2 i4 u4 i8 u8'.split()
SHAPES = [(3, 5), (1, 4), (4, 1), (2, 3, 3), (1, 1)]


def mat_bytes(array, **options) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, dict(map=array), **options)
    return buffer.getvalue()


@pytest.mark.parametrize('options', [{}, dict(do_compression=True)], ids=str)
@pytest.mark.parametrize('dtype', DTYPES)
def test_every_type_and_shape(tmp_path, dtype, options):
    path = tmp_path / 'a.mat'
    for shape in SHAPES:
        array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
        path.write_bytes(mat_bytes(array, **options))
        read = read_array(path)
        assert read.dtype == dtype and read.shape == shape and (read == array).all()
        assert array_size(path) == shape[:2]


@pytest.mark.parametrize('dtype', ['f8', 'f4', 'i4', 'i2', 'u2', 'u1'])
def test_version_4(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (tmp_path / 'a.mat').write_bytes(mat_bytes(array, format='4'))
    read = read_array(tmp_path / 'a.mat')
    assert read.dtype == dtype and (read == array).all()


def test_yes_and_no_are_bool(tmp_path):
    (tmp_path / 'a.mat').write_bytes(mat_bytes(np.eye(3) > 0))
    assert read_array(tmp_path / 'a.mat').dtype == bool


@pytest.mark.parametrize('order', '<>')
def test_whole_metres_that_matlab_packs_stay_floating_point(tmp_path, order):
    """A double array of small whole numbers is stored as uint8, by this machine or another."""

    def part(kind: int, data: bytes) -> bytes:
        return struct.pack(f'{order}II', kind, len(data)) + data + bytes(-len(data) % 8)

    small_name = struct.pack(f'{order}I', 1 << 16 | 1) + b'd\0\0\0'
    matrix = (
        part(6, struct.pack(f'{order}II', 6, 0))
        + part(5, struct.pack(f'{order}2i', 2, 3))
        + small_name
        + part(2, bytes([1, 4, 2, 5, 3, 6]))
    )
    mark = b'\0\1IM' if order == '<' else b'\1\0MI'
    (tmp_path / 'd.mat').write_bytes(b'MATLAB 5.0'.ljust(124) + mark + part(14, matrix))
    read = read_array(tmp_path / 'd.mat')
    assert read.dtype == np.float64 and read.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize('options', [{}, dict(do_compression=True), dict(format='4')], ids=str)
def test_damage_is_a_message_and_no_crash(tmp_path, options):
    """SciPy's reader ends the process on some of these."""
    whole, chance, path = (
        mat_bytes(np.ones((4, 6)), **options),
        random.Random(0),
        tmp_path / 'a.mat',
    )
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 2, 5])):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 127, 128, 255])
        path.write_bytes(data[: chance.choice([len(data), chance.randrange(1, len(data))])])
        try:
            assert read_array(path).ndim >= 2
        except ValueError as error:
            assert str(path) in str(error)
