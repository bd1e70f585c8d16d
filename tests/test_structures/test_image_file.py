"""Images of any kind and origin."""

import io
import struct
import subprocess

import cv2
import numpy as np
import pytest
from image_kinds import ALPHA, GREY, HIDDEN, KINDS, ON_WHITE, RGB, chunk, encode, exif, grey
from PIL import Image, ImageOps

from m2h_mm.structures.image_file import image_header, image_size, read_image


@pytest.mark.parametrize('name', KINDS)
def test_any_kind_of_file_is_read_and_its_header_agrees(tmp_path, name):
    content, expected, tolerance = KINDS[name]
    path = tmp_path / name
    path.write_bytes(content)
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape[2] == 3 and image.flags.c_contiguous
    assert image.flags.writeable
    if expected is not None:
        assert image.shape == expected.shape
        assert np.abs(image.astype(int) - expected).mean() <= tolerance
    assert image_size(path) == image.shape[:2]
    np.testing.assert_array_equal(read_image(content), image)


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_the_camera_s_rotation_is_undone(tmp_path, orientation, kind):
    content = encode(RGB, kind, exif=exif(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    np.testing.assert_array_equal(read_image(content), expected)
    path = tmp_path / 'a'
    path.write_bytes(content)
    assert image_size(path) == expected.shape[:2]
    if kind != 'TIFF':  # which Pillow turns itself
        assert image_header(path) == (RGB.shape[:2], orientation)


@pytest.mark.parametrize('options', [dict(subsampling=n) for n in range(3)] + [{}])
@pytest.mark.parametrize('more', [{}, dict(progressive=True), dict(restart_marker_rows=1)])
@pytest.mark.parametrize('shape', [(33, 47), (1, 1), (16, 9)])
def test_the_fast_decoder_has_the_pixels_of_the_other(options, more, shape):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for image in (pixels, pixels[..., 0]):
        content = encode(image, 'JPEG', quality=80, **(options if image.ndim == 3 else {}), **more)
        expected = np.asarray(Image.open(io.BytesIO(content)).convert('RGB'))
        np.testing.assert_array_equal(read_image(content), expected)


def test_a_file_its_bytes_its_array_and_its_picture_are_the_same_image(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(encode(RGB))
    content = path.read_bytes()
    written = io.BytesIO()
    Image.fromarray(RGB).save(written, 'PNG')  # and stands at its end
    for source in (path, str(path), content, bytearray(content), memoryview(content), RGB, written):
        np.testing.assert_array_equal(read_image(source), RGB)
    with open(path, 'rb') as file, Image.open(path) as picture:
        np.testing.assert_array_equal(read_image(file), RGB)
        np.testing.assert_array_equal(read_image(picture), RGB)
    with subprocess.Popen(['cat', path], stdout=subprocess.PIPE) as cat:  # cannot be rewound
        np.testing.assert_array_equal(read_image(cat.stdout), RGB)
    phone = Image.open(io.BytesIO(encode(RGB, 'JPEG', exif=exif(6))))
    assert read_image(phone).shape == (30, 40, 3)
    assert read_image(ImageOps.exif_transpose(phone)).shape == (30, 40, 3)


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        (GREY, grey(GREY)),
        (GREY[..., None], grey(GREY)),
        (GREY.astype(np.uint16) * 257, grey(GREY)),
        (RGB.astype(np.uint16) * 257, RGB),
        (encode(Image.fromarray(GREY.astype(np.int32) * 257), 'TIFF'), grey(GREY)),
        (HIDDEN, ON_WHITE),
        (Image.fromarray(HIDDEN), ON_WHITE),
        (Image.fromarray(np.dstack([GREY, ALPHA]).astype(np.uint8), 'LA'), None),
    ],
    ids=['grey', 'channel', '16', 'rgb 16', '32 tiff', 'alpha', 'picture', 'grey alpha'],
)
def test_arrays_and_pictures_are_converted(source, expected):
    image = read_image(source)
    if expected is None:
        assert (image[:, :10] == 255).all()
    else:
        np.testing.assert_array_equal(image, expected)


# ---- what is no image, or damaged

THUMBNAIL = encode(RGB, 'JPEG', quality=30)
PHOTO = encode(
    np.random.default_rng(2).integers(0, 256, (300, 300, 3), dtype=np.uint8), 'JPEG', quality=90
)
WITH_THUMBNAIL = b''.join(
    [PHOTO[:2], b'\xff\xe1', (len(THUMBNAIL) + 2).to_bytes(2, 'big'), THUMBNAIL, PHOTO[2:]]
)
BOMB = encode(RGB)[:8] + chunk(b'IHDR', struct.pack('>IIBBBBB', 30000, 30000, 8, 2, 0, 0, 0))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'zero bytes'),
        (b'not an image at all', 'is no image'),
        (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n', 'is no image'),
        (encode(RGB)[:-200], 'cannot be read'),
        (encode(RGB)[:-4], None),  # all pixels are there
        (PHOTO[:-200], 'cannot be read'),
        (PHOTO[:300], 'cannot be read'),
        (WITH_THUMBNAIL[:4000], 'cannot be read'),
        (encode(RGB, 'TIFF')[:900], 'cannot be read'),
        (encode(RGB, 'WEBP')[:-20], 'cannot be read'),
        (encode(RGB, 'BMP')[:-20], 'cannot be read'),
        (BOMB + encode(RGB)[33:], 'cannot be read'),
    ],
    ids=lambda value: value if isinstance(value, str) else str(len(value or b'')),
)
def test_what_is_no_image_is_named_by_reader_and_header(tmp_path, content, message, monkeypatch):
    monkeypatch.setattr(subprocess, 'Popen', None)  # no decoder starts a program
    path = tmp_path / 'room.png'
    path.write_bytes(content)
    for read in (read_image, image_header):
        if message:
            with pytest.raises(ValueError, match=f'room.png.*{message}'):
                read(path)
        else:
            read(path)


def test_what_follows_a_photo_does_not_matter(tmp_path):
    path = tmp_path / 'motion.jpg'
    path.write_bytes(WITH_THUMBNAIL + b'video' * 20000)
    assert image_size(path) == read_image(path).shape[:2] == (300, 300)


@pytest.mark.parametrize(
    'error',
    [RuntimeError, TypeError, NotImplementedError, MemoryError, KeyError, RecursionError, OSError],
)
def test_whatever_a_decoder_raises_is_an_error_of_the_image(tmp_path, error, monkeypatch):
    def fail(*args, **options):
        raise error

    path = tmp_path / 'room.gif'
    path.write_bytes(encode(GREY, 'GIF'))
    monkeypatch.setattr(Image.Image, 'convert', fail)
    for read in (read_image, image_header):
        with pytest.raises(ValueError, match=f'room.gif cannot be read .{error.__name__}'):
            read(path)


def test_notes_that_cannot_be_understood_do_not_spoil_the_pixels(tmp_path):
    notes = exif(6)
    broken = notes.tobytes()[:-12]
    for orientation in (0, 9, 77):
        notes[0x0112] = orientation
        assert read_image(encode(RGB, 'JPEG', exif=notes)).shape == RGB.shape
    path = tmp_path / 'a.jpg'
    path.write_bytes(encode(RGB, 'JPEG', exif=broken))
    assert read_image(path).shape[:2] == image_size(path)
    # Text where a number belongs, which Pillow cannot write again.
    notes = (
        b'Exif\0\0MM\0*\0\0\0\x08\0\3\1>\0\2\0\0\0\6\0\0\x002\1\x12\0\3\0\0\0\1\0\6\0\0\x87i\0\4'
    )
    notes += b'\0\0\0\1\0\0\x008\0\0\0\0hello\0\0\1\xa4\5\0\3\0\0\0\1\0\x1c\0\0\0\0\0\0'
    path.write_bytes(encode(RGB, 'JPEG', exif=notes))
    assert read_image(path).shape[:2] == image_size(path) == (30, 40)


@pytest.mark.parametrize(
    ('source', 'message'),
    [
        (np.zeros((4, 5, 2), np.uint8), 'expected an array'),
        (np.zeros((4, 5, 3)), 'Scale other values to 0..255'),
        (np.zeros((0, 5), np.uint8), 'expected an array'),
        (np.zeros(7, np.uint8), 'expected an array'),
        (np.zeros((2, 4, 5, 3), np.uint8), 'several images are a list'),
        (np.full((4, 5), 9), 'got .4, 5. int64'),
        (GREY / np.float32(100), 'expected an array'),
        (Image.fromarray(GREY / np.float32(100)), 'taken for grey in 0..1, this is'),
        (Image.fromarray(GREY.astype(np.int32)), 'save it with 8 or 16 bits'),
        (Image.fromarray(GREY.astype(np.int32) * 999), 'save it with 8 or 16 bits'),
        (7, 'expected a file, the bytes of one, .* got int'),
        (None, 'got NoneType'),
        (io.StringIO('text'), 'open for text'),
        (io.BytesIO(), 'zero bytes'),
    ],
)
def test_what_is_not_taken_is_refused(source, message):
    with pytest.raises(ValueError, match=f'(?s)^The image.*{message}'):
        read_image(source)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no image .*lost.png'):
        read_image(tmp_path / 'lost.png')
    with pytest.raises(FileNotFoundError, match='is no file'):
        read_image(tmp_path)


def test_without_opencv_s_rgb_pillow_decodes(monkeypatch):
    monkeypatch.setattr('m2h_mm.structures.image_file._RGB', None)
    monkeypatch.setattr(cv2, 'imdecode', None)
    np.testing.assert_array_equal(read_image(encode(RGB)), RGB)


@pytest.mark.parametrize('kind', ['plain.png', 'palette.png', 'alpha.png'])
def test_a_png_that_announces_more_than_it_can_hold_is_refused(tmp_path, kind):
    data = KINDS[kind][0]
    header = data[16:20] + struct.pack('>I', 2_900_000) + data[24:29]  # width, height, and the rest
    (tmp_path / 'tall.png').write_bytes(data[:8] + chunk(b'IHDR', header) + data[33:])
    for read in (read_image, image_header):
        with pytest.raises(ValueError, match=r'tall\.png .*cannot hold the 30x2900000 pixels'):
            read(tmp_path / 'tall.png')


def test_a_blank_png_takes_few_bytes(tmp_path):
    blank = encode(np.zeros((3000, 3000), np.uint8), compress_level=9)
    (tmp_path / 'blank.png').write_bytes(blank)
    assert len(blank) < 3000 * 3000 / 900 and image_size(tmp_path / 'blank.png') == (3000, 3000)
    assert read_image(blank).shape == (3000, 3000, 3)
