"""Reading maps: what is there is read as it is stored."""

import cv2
import numpy as np
import pytest
import scipy.io
from PIL import Image
from png_chunks import png_bytes

from m2h_mm.tasks.files import array_size, read_array, require_dims

IDS = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3


@pytest.mark.parametrize('count', [3, 256])
def test_a_palette_gives_its_indices(tmp_path, count):
    image = Image.fromarray(IDS, 'P')
    image.putpalette([value % 256 for value in range(7, 7 + 3 * count)])
    image.save(tmp_path / 'a.png', bits=2 if count == 3 else 8)
    assert (read_array(tmp_path / 'a.png') == IDS).all()
    assert (read_array(tmp_path / 'a.png', colours=True)[..., 0] == 7 + 3 * IDS).all()
    with pytest.raises(ValueError, match='palette'):
        require_dims(read_array(tmp_path / 'a.png'), 3, 'a.png', 'normals')


@pytest.mark.parametrize(
    'bits, row, expected',
    [(1, b'\0\x50', [False, True, False, True]), (2, b'\0\x1b', [0, 1, 2, 3])],
)
def test_small_numbers_of_bits_are_not_scaled(tmp_path, bits, row, expected):
    (tmp_path / 'a.png').write_bytes(png_bytes(4, 1, bits, 0, row))
    assert read_array(tmp_path / 'a.png').tolist() == [expected]


@pytest.mark.parametrize('channels', [2, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_one_number_in_several_channels_is_one_map(tmp_path, channels, dtype):
    array = np.repeat(IDS[..., None].astype(dtype), channels, 2)
    if channels in (2, 4):
        array[..., -1] = np.iinfo(dtype).max
    if channels == 2:
        if dtype == np.uint16:
            pytest.skip('Pillow writes none')
        Image.fromarray(array, 'LA').save(tmp_path / 'a.png')
    else:
        cv2.imwrite(str(tmp_path / 'a.png'), array)
    read = require_dims(read_array(tmp_path / 'a.png'), 2, 'a.png', 'semseg')
    assert read.dtype == dtype
    assert (read == IDS).all()


@pytest.mark.parametrize('suffix', ['.PNG', '.Npy', '.MAT'])
def test_suffixes_of_any_case(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    if suffix == '.PNG':
        path.write_bytes(cv2.imencode('.png', IDS)[1].tobytes())
    elif suffix == '.Npy':
        with path.open('wb') as file:
            np.save(file, IDS)
    else:
        with path.open('wb') as file:
            scipy.io.savemat(file, dict(a=IDS))
    assert (read_array(path) == IDS).all()
    assert array_size(path) == (3, 4)


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('format', ['4', '5'])
def test_mat_of_both_versions(tmp_path, compressed, format):
    depth = np.linspace(0, 9, 12).reshape(3, 4)
    scipy.io.savemat(tmp_path / 'a.mat', dict(a=depth), format=format, do_compression=compressed)
    assert (read_array(tmp_path / 'a.mat') == depth).all()
    assert array_size(tmp_path / 'a.mat') == (3, 4)


def test_the_bytes_of_another_machine(tmp_path):
    np.save(tmp_path / 'a.npy', np.arange(6, dtype='>f4').reshape(2, 3))
    read = read_array(tmp_path / 'a.npy')
    assert read.dtype == np.float32 and read.dtype.isnative
    assert read.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    'shape, expected', [((3, 4, 1), (3, 4)), ((1, 3, 4), (3, 4)), ((1, 4), (1, 4))]
)
def test_a_single_channel_is_left_out(tmp_path, shape, expected):
    np.save(tmp_path / 'a.npy', np.ones(shape, np.float32))
    assert read_array(tmp_path / 'a.npy').shape == expected
    assert array_size(tmp_path / 'a.npy') == expected


@pytest.mark.parametrize(
    'array, ndim, cause',
    [
        (np.eye(3, dtype=np.uint8)[IDS % 3], 2, 'colours'),
        (IDS, 3, 'expected three channels'),
        (IDS > 0, 2, 'True and False'),
    ],
)
def test_what_does_not_fit_a_task_is_named(array, ndim, cause):
    with pytest.raises(ValueError, match=cause):
        require_dims(array, ndim, 'a.png', 'semseg')
    with pytest.raises(ValueError, match='JPEG changes numbers'):
        require_dims(np.zeros((3, 4, 3), np.uint8), 2, 'a.JPG', 'semseg')
