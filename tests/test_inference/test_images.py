"""Images of any origin."""

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from m2h_mm.inference.images import list_images
from m2h_mm.structures.image_file import read_image

RNG = np.random.default_rng(0)
# Smooth, so that JPEG changes little.
RGB = cv2.resize(
    RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8), (40, 30), interpolation=cv2.INTER_CUBIC
)
GREY = RGB[..., 0]


def encode(image, kind='PNG', **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def test_a_file_its_bytes_and_its_array_are_the_same_image(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(encode(RGB))
    for source in (path, str(path), path.read_bytes(), RGB):
        np.testing.assert_array_equal(read_image(source), RGB)


@pytest.mark.parametrize(
    'source',
    [
        GREY,
        GREY[..., None],
        encode(GREY),
        GREY.astype(np.uint16) * 257,
        encode(Image.fromarray(GREY.astype(np.uint16) * 257)),
        encode(Image.fromarray(GREY.astype(np.int32) * 257), 'TIFF'),
        encode(Image.fromarray(GREY).convert('P')),
    ],
    ids=['array', 'channel', 'png', '16', '16 png', '32 tiff', 'palette'],
)
def test_grey_becomes_three_equal_channels(source):
    np.testing.assert_array_equal(read_image(source), np.repeat(GREY[..., None], 3, axis=2))


def test_sixteen_bits_of_colour_are_reduced():
    wide = RGB.astype(np.uint16) * 257
    np.testing.assert_array_equal(read_image(wide), RGB)
    coded = cv2.imencode('.png', wide[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(read_image(coded), RGB)


def test_what_is_transparent_is_white():
    alpha = np.zeros(GREY.shape, np.uint8)
    alpha[:, 20:] = 255
    for source in (np.dstack([RGB, alpha]), encode(np.dstack([RGB, alpha]))):
        image = read_image(source)
        assert (image[:, :20] == 255).all()
        np.testing.assert_array_equal(image[:, 20:], RGB[:, 20:])
    assert (
        read_image(encode(Image.fromarray(np.dstack([GREY, alpha]), 'LA')))[:, :20] == 255
    ).all()


def test_the_camera_s_rotation_is_undone():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    image = read_image(encode(RGB, 'JPEG', exif=exif, quality=95))
    assert image.shape == (40, 30, 3)
    assert np.abs(image.astype(int) - np.rot90(RGB, -1)).mean() < 3


def test_cmyk_is_converted():
    coded = encode(Image.fromarray(RGB).convert('CMYK'), 'JPEG', quality=95)
    assert np.abs(read_image(coded).astype(int) - RGB).mean() < 4


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'zero bytes'),
        (b'not an image at all', 'is no image'),
        (encode(RGB)[:-200], 'cannot be read'),
        (encode(RGB, 'JPEG')[:300], 'cannot be read'),
    ],
    ids=['empty', 'text', 'cut PNG', 'cut JPEG'],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / 'room.png'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'room.png.*{message}'):
        read_image(path)


@pytest.mark.parametrize(
    'array',
    [
        np.zeros((4, 5, 2), np.uint8),
        np.zeros((4, 5, 3)),
        np.zeros((0, 5), np.uint8),
        np.zeros(7, np.uint8),
        np.full((4, 5), np.nan),
        np.full((4, 5), -1),
    ],
)
def test_arrays_that_are_no_image_are_refused(array):
    with pytest.raises(ValueError, match='The image: expected'):
        read_image(array)


def test_files_folders_and_patterns_are_listed(tmp_path):
    for name in ('b.JPG', 'a.png', 'deep/c.webp', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(source):
        return [path.name for path in list_images(source)]

    assert names(tmp_path / 'notes.txt') == ['notes.txt']  # named: it is up to the reader
    assert names(tmp_path) == ['a.png', 'b.JPG', 'c.webp']
    assert names(str(tmp_path / '*.png')) == ['a.png']
    assert names(str(tmp_path / '**' / '*')) == ['a.png', 'b.JPG', 'c.webp']
    for missing in ('nothing', '*.bmp'):
        with pytest.raises(FileNotFoundError, match='Input: there is no file or folder'):
            list_images(tmp_path / missing)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='no file in the folder'):
        list_images(tmp_path / 'empty')
    (tmp_path / 'empty' / 'clip.mov').touch()
    with pytest.raises(FileNotFoundError, match=r'There are other suffixes: 1 \.mov'):
        list_images(tmp_path / 'empty')


def test_what_is_no_file_is_not_opened_and_what_is_left_out_is_said(tmp_path, capsys):
    (tmp_path / 'a.png').touch()
    os.mkfifo(tmp_path / 'pipe.png')
    os.symlink(tmp_path, tmp_path / 'loop')
    assert [path.name for path in list_images(tmp_path)] == ['a.png']
    said = capsys.readouterr().out
    assert 'links to nothing, pipes and the like: 1' in said and 'listed already' in said
    with pytest.raises(ValueError, match='no ordinary file'):
        list_images(tmp_path / 'pipe.png')
