"""Files that are not what they say: each is a ValueError that names the file and the cause."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import cv2
import numpy as np
import pytest
import scipy.io
from PIL import Image
from png_chunks import png_bytes

from m2h_mm.tasks.files import array_size, read_array

IDS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3


def npy_header(shape: str, dtype: str = "'<f4'", body: int = 64) -> bytes:
    """A .npy with the header that is given, and zeros."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}"
    text += ' ' * (-(len(text) + 11) % 64) + '\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text.encode() + bytes(body)


def npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('a.npy', npy_bytes(IDS))
    return buffer.getvalue()


def mat_bytes(**variables) -> bytes:
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables)
    return buffer.getvalue()


def mat_bomb() -> bytes:
    """A variable of 2 x 2 numbers with a megabyte of zeros behind them."""
    plain = mat_bytes(a=np.ones((2, 2)))
    data = zlib.compress(plain[128:] + bytes(2**20))
    return plain[:128] + struct.pack('<II', 15, len(data)) + data


def picture(format: str, mode: str = 'L', value=0) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (4, 3), value).save(buffer, format)
    return buffer.getvalue()


PNG = cv2.imencode('.png', np.arange(4000, dtype=np.uint8).reshape(50, 80))[1].tobytes()
DAMAGED = PNG[: len(PNG) // 2] + b'damaged' + PNG[len(PNG) // 2 + 7 :]

CASES = {
    'npz.npy': (npz_bytes(), 'ZIP archive, such as a .npz'),
    'huge.npy': (npy_header('(10000000, 1000000)'), 'no map has'),
    'negative.npy': (npy_header('(-4, -4)'), r'its shape is \(-4, -4\)'),
    'overflow.npy': (npy_header('(4294967296, 4294967296)'), 'no map has'),
    'columns.npy': (npy_header('(4, 4)', "[('a', '<f4'), ('b', '<f4')]", 128), 'columns'),
    'text.npy': (npy_header('(4, 4)', "'<U4'", 256), 'holds text'),
    'bytes.npy': (npy_header('(4, 4)', "'|V4'", 256), 'holds text or raw bytes'),
    'complex.npy': (npy_header('(4, 4)', "'<c8'", 128), 'complex numbers'),
    'dates.npy': (npy_header('(4, 4)', "'<M8[s]'", 128), 'dates'),
    'objects.npy': (npy_bytes(np.array([[1, None]], object)), 'Python objects'),
    'code.npy': (npy_header("__import__('os').mkdir('crater')"), 'cannot be read'),
    'deep.npy': (npy_header('(' * 3000 + '4' + ')' * 3000), 'cannot be read'),
    'none.npy': (npy_header('(0, 4)', body=0), 'there is no pixel'),
    'cut.npy': (npy_bytes(IDS)[:-1], 'cut off'),
    'one_dimension.npy': (npy_bytes(IDS.ravel()), r'expected \(H, W\)'),
    'four_dimensions.npy': (npy_bytes(IDS[None, None]), r'expected \(H, W\)'),
    'channels_first.npy': (npy_bytes(np.ones((3, 5, 4))), 'channels come last'),
    'empty.npy': (b'', 'zero bytes'),
    'noise.npy': (b'noise', 'unknown type or damaged'),
    'a_png.npy': (PNG, 'it is a PNG picture'),
    'cell.mat': (mat_bytes(a=np.array([[1, 2], ['x', 3]], object)), 'of the kind cell'),
    'struct.mat': (mat_bytes(a=dict(b=1)), 'of the kind struct'),
    'text.mat': (mat_bytes(a='text'), 'of the kind char'),
    'two.mat': (mat_bytes(a=IDS, b=IDS), 'expected one variable'),
    'none.mat': (mat_bytes(), 'expected one variable'),
    'cut.mat': (mat_bytes(a=np.ones((50, 50)))[:-9], 'cut off'),
    'version7.mat': (b'\x89HDF\r\n\x1a\n' + bytes(500), 'HDF5 file'),
    'noise.mat': (b'noise' * 100, 'cannot be read'),
    'huge.png': (png_bytes(30000, 30000, 1, 0, b'\0'), 'no map has'),
    'wide.png': (png_bytes(2**30, 1, 1, 0, b'\0'), 'no map has'),
    'large.png': (png_bytes(9000, 9000, 8, 0, b'\0'), 'cannot hold the 81000000'),
    'cut.png': (PNG[:-100], 'cut off'),
    'jpeg.png': (picture('JPEG'), 'it is a JPEG picture, not a .png'),
    'gif.png': (picture('GIF'), 'GIF'),
    'tiff.png': (picture('TIFF'), 'TIFF'),
    'bmp.png': (picture('BMP'), 'BMP'),
    'lfs.png': (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
    'page.png': (b'<!DOCTYPE html>', 'failed download'),
    'kind.png': (png_bytes(1, 1, 8, 7, b'\0\0'), 'colour type 7'),
    'cut.jpg': (picture('JPEG', 'RGB')[:-2], 'cut off'),
    'png.jpg': (PNG, 'it is a PNG picture'),
    'map.tif': (picture('TIFF'), "unknown file type '.tif'"),
}
# The header is in order: only the decoder finds out.
DECODED = {
    'complex.mat': (mat_bytes(a=np.ones((2, 2), complex)), 'complex numbers'),
    'bomb.mat': (mat_bomb(), 'expands to more'),
    'damaged.png': (DAMAGED, 'damaged'),
    'chunk.png': (PNG[:33] + b'\x7f' + PNG[34:], 'damaged in a chunk'),
    'transparent.png': (picture('PNG', 'RGBA', (1, 1, 1, 9)), 'transparent'),
}


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', [*CASES, *DECODED])
def test_an_odd_file_is_named_with_its_cause(tmp_path, name):
    data, cause = (CASES | DECODED)[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=cause) as caught:
        read_array(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    if name in CASES:
        with pytest.raises(ValueError, match=cause):
            array_size(tmp_path / name)
    assert not (tmp_path / 'crater').exists()


@pytest.mark.parametrize('length', [180, 135, 20])
def test_a_mat_that_is_cut_anywhere_is_named(tmp_path, length):
    (tmp_path / 'a.mat').write_bytes(mat_bytes(depth=np.ones((5, 7)))[:length])
    with pytest.raises(ValueError, match=r'a\.mat cannot be read'):
        array_size(tmp_path / 'a.mat')


def test_headers_are_refused_in_little_memory(tmp_path):
    (tmp_path / 'huge.npy').write_bytes(CASES['huge.npy'][0])
    tracemalloc.start()
    with pytest.raises(ValueError, match='no map has'):
        read_array(tmp_path / 'huge.npy')
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_file_that_is_not_there_is_no_damaged_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_array(tmp_path / 'a.png')
