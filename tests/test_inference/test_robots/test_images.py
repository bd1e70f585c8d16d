"""Pictures of every encoding come out as they were seen; what is no picture is refused."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from m2h_mm.inference.robots.images import image_fields, rgb_of

RGB = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8), (24, 18), interpolation=0
)
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)


def raw(pixels, encoding, padding=0, big=False):
    """A message as a driver sends it, each row followed by padding."""
    pixels = np.ascontiguousarray(pixels)
    rows = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<')).reshape(len(pixels), -1)
    rows = rows.view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    return SimpleNamespace(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1],
        data=rows.tobytes(),
    )


def wide(pixels):
    """16 bits, with noise in the lower 8."""
    return (
        pixels.astype(np.uint16) * 256
        + np.arange(pixels.size, dtype=np.uint16).reshape(pixels.shape) % 256
    )


ALPHA = np.full((*GREY.shape, 1), 3, np.uint8)
BGR = RGB[..., ::-1]


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(
    ('encoding', 'pixels', 'expected'),
    [
        ('rgb8', RGB, RGB),
        ('bgr8', BGR, RGB),
        ('8UC3', BGR, RGB),
        ('rgba8', np.dstack((RGB, ALPHA)), RGB),
        ('bgra8', np.dstack((BGR, ALPHA)), RGB),
        ('mono8', GREY, np.dstack([GREY] * 3)),
        ('8UC1', GREY, np.dstack([GREY] * 3)),
        ('mono16', wide(GREY), np.dstack([GREY] * 3)),
        ('rgb16', wide(RGB), RGB),
        ('bgr16', wide(BGR), RGB),
    ],
)
def test_raw_pictures(encoding, pixels, expected, padding):
    assert np.array_equal(rgb_of(raw(pixels, encoding, padding)), expected)
    if pixels.dtype == np.uint16:
        assert np.array_equal(rgb_of(raw(pixels, encoding, padding, big=True)), expected)


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_a_mosaic_has_the_colours_of_its_pattern(pattern, bits):
    """Of one colour, so that interpolation changes nothing."""
    colour = dict(r=200, g=90, b=20)
    tile = np.array([colour[letter] for letter in pattern], np.uint8).reshape(2, 2)
    pixels = np.tile(tile, (4, 5))
    message = raw(wide(pixels) if bits == 16 else pixels, f'bayer_{pattern}{bits}')
    assert (rgb_of(message) == (200, 90, 20)).all()
    written = cv2.imencode('.png', pixels)[1]
    message = SimpleNamespace(format=f'bayer_{pattern}8; png compressed ', data=written)
    assert (rgb_of(message) == (200, 90, 20)).all()


@pytest.mark.parametrize(('encoding', 'luma'), [('yuv422', 1), ('yuv422_yuy2', 0)])
def test_colour_that_two_columns_share(encoding, luma):
    pixels = np.full((4, 6, 2), 128, np.uint8)
    pixels[..., luma] = 180
    got = rgb_of(raw(pixels, encoding))
    assert got.shape == (4, 6, 3) and np.ptp(got) <= 1 and abs(int(got[0, 0, 0]) - 191) <= 2


@pytest.mark.parametrize(
    ('stated', 'written'),
    [
        ('png', BGR),
        ('jpeg', None),
        ('rgb8; png compressed bgr8', BGR),
        ('bgr8; png compressed bgr8', BGR),
        ('rgb8; png compressed rgb8', RGB),
        ('bgr8; png compressed rgb8', RGB),
        ('bgra8; png compressed bgr8', BGR),
        ('mono8; png compressed ', GREY),
        ('mono16; png compressed ', wide(GREY)),
    ],
)
def test_compressed_pictures(stated, written):
    suffix = '.png' if written is not None else '.jpg'
    data = cv2.imencode(suffix, np.ascontiguousarray(BGR if written is None else written))[1]
    got = rgb_of(SimpleNamespace(format=stated, data=data.tobytes())).astype(int)
    expected = np.dstack([GREY] * 3) if 'mono' in stated else RGB
    if written is not None:
        assert np.array_equal(got, expected)
    else:
        assert np.abs(got - expected).mean() < np.abs(got - BGR).mean() / 3


@pytest.mark.parametrize(
    ('message', 'said'),
    [
        (raw(GREY.astype(np.uint16), '16UC1'), 'are depth, not pictures: choose another topic'),
        (raw(GREY.astype(np.float32), '32FC1'), 'are depth, not pictures'),
        (raw(RGB, 'rgb9'), "'rgb9' are not read; known are mono8, .* Did you mean 'rgb8'"),
        (SimpleNamespace(format='16UC1; compressedDepth png', data=b''), 'are depth'),
        (SimpleNamespace(format='rgb8; jpeg compressed bgr8', data=b'abc'), 'cannot be decoded'),
        (SimpleNamespace(format='jpeg', data=b''), 'cannot be decoded'),
    ],
)
def test_what_is_no_picture(message, said):
    with pytest.raises(ValueError, match=said):
        rgb_of(message)


def test_a_message_with_too_few_bytes():
    message = raw(RGB, 'rgb8')
    message.data = message.data[:-1]
    with pytest.raises(ValueError, match=r'rgb8 of 24x18 pixels has 72 bytes a row; it states 72'):
        rgb_of(message)
    message = raw(RGB, 'rgb8')
    message.step = 24
    with pytest.raises(ValueError, match='it states 24 a row'):
        rgb_of(message)
    with pytest.raises(ValueError, match='cannot be converted'):
        rgb_of(raw(np.zeros((4, 5, 2), np.uint8), 'yuv422'))


@pytest.mark.parametrize('encoding', ['rgb8', 'mono8', '32FC1', '16UC1', '32FC3'])
def test_a_picture_becomes_a_message(encoding):
    dtype = {'32': np.float32, '16': np.uint16}.get(encoding[:2], np.uint8)
    pixels = RGB.astype(dtype) if encoding[-1] == '3' or encoding == 'rgb8' else GREY.astype(dtype)
    fields = image_fields(pixels[:, ::2], encoding)
    assert (fields['height'], fields['width'], fields['is_bigendian']) == (18, 12, 0)
    assert fields['step'] * 18 == len(fields['data'])
    back = fields['data'].view(dtype).reshape(pixels[:, ::2].shape)
    assert np.array_equal(back, pixels[:, ::2])
