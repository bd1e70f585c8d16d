"""One picture in every kind of image file that is read."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageCms

# Smooth, so that JPEG and colour spaces change little, and taller than wide.
RGB = cv2.resize(
    np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8),
    (30, 40),
    interpolation=cv2.INTER_LINEAR,
)
GREY = RGB[..., 0]
ALPHA = np.where(np.arange(30) < 10, 0, 255) * np.ones((40, 1))
ON_WHITE = np.where(ALPHA[..., None] == 0, 255, RGB)
"""What is transparent hides magenta."""
HIDDEN = np.dstack([np.where(ALPHA[..., None] == 0, (255, 0, 255), RGB), ALPHA]).astype(np.uint8)


def encode(image, kind='PNG', **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation):
    notes = Image.Exif()
    notes[0x0112] = orientation
    return notes


def chunk(name, content):
    return (
        struct.pack('>I', len(content))
        + name
        + content
        + struct.pack('>I', zlib.crc32(name + content))
    )


def late_exif(orientation):
    """A PNG whose EXIF stands behind the pixels."""
    coded = encode(RGB)
    return coded[:-12] + chunk(b'eXIf', exif(orientation).tobytes()[6:]) + coded[-12:]


def grey(values):
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


def _palette(transparent):
    image = Image.fromarray((GREY >> 6).astype(np.uint8), 'P')
    image.putpalette([10, 20, 30, 90, 20, 30, 10, 120, 30, 10, 20, 200])
    return encode(image, **(dict(transparency=1) if transparent else {}))


def _palette_rgb(transparent):
    colours = np.array([[10, 20, 30], [90, 20, 30], [10, 120, 30], [10, 20, 200]])
    if transparent:
        colours[1] = 255
    return colours[GREY >> 6]


def _lab():
    spaces = [ImageCms.createProfile(name) for name in ('sRGB', 'LAB')]
    return ImageCms.profileToProfile(Image.fromarray(RGB), *spaces, outputMode='LAB')


_wide = GREY.astype(np.uint16) * 257 // 255 * 255
_second = Image.fromarray(RGB[::-1].copy())
_turned = Image.fromarray(
    np.ascontiguousarray(np.rot90(RGB))
)  # upright after 90 degrees to the right

# Name of the file to its bytes, the pixels that are expected, and by how much they may differ
# in the mean: what JPEG and colour spaces change.
KINDS = {
    'plain.png': (encode(RGB), RGB, 0),
    'photo.JPG': (encode(RGB, 'JPEG', quality=95), RGB, 2),
    'progressive.jpeg': (encode(RGB, 'JPEG', quality=95, progressive=True), RGB, 2),
    'grey.jpg': (encode(GREY, 'JPEG', quality=95), grey(GREY), 2),
    'cmyk.jpg': (encode(Image.fromarray(RGB).convert('CMYK'), 'JPEG', quality=95), RGB, 4),
    'phone.jpg': (encode(_turned, 'JPEG', quality=95, exif=exif(6)), RGB, 2),
    'turned.PNG': (encode(_turned, exif=exif(6)), RGB, 0),
    'late.png': (late_exif(3), RGB[::-1, ::-1], 0),
    'turned.tif': (encode(_turned, 'TIFF', exif=exif(6)), RGB, 0),
    'turned.webp': (encode(_turned, 'WEBP', lossless=True, exif=exif(6)), RGB, 0),
    'alpha.png': (encode(HIDDEN), ON_WHITE, 0),
    'alpha.webp': (encode(HIDDEN, 'WEBP', lossless=True, exact=True), ON_WHITE, 0),
    'grey alpha.png': (encode(Image.fromarray(HIDDEN).convert('LA')), None, 0),
    'colour key.png': (encode(GREY, transparency=int(GREY[0, 0])), None, 0),
    'palette.png': (_palette(False), _palette_rgb(False), 0),
    'palette alpha.png': (_palette(True), _palette_rgb(True), 0),
    'grey16.png': (encode(Image.fromarray(_wide)), grey(_wide >> 8), 0),
    'grey16.tif': (encode(Image.fromarray(_wide), 'TIFF'), grey(_wide >> 8), 0),
    'rgb16.png': (
        cv2.imencode('.png', RGB[..., ::-1].astype(np.uint16) * 255)[1].tobytes(),
        RGB.astype(np.uint16) * 255 >> 8,
        0,
    ),
    'wide.pgm': (b'P5 30 40 65535\n' + _wide.astype('>u2').tobytes(), grey(_wide >> 8), 0),
    'float.tif': (encode(Image.fromarray(GREY / np.float32(255)), 'TIFF'), grey(GREY), 0),
    'bits.png': (encode(Image.fromarray(GREY > 99)), grey((GREY > 99) * 255), 0),
    'lab.tif': (encode(_lab(), 'TIFF'), RGB, 3),
    'ycbcr.jpg': (encode(Image.fromarray(RGB).convert('YCbCr'), 'JPEG', quality=95), RGB, 2),
    'animated.webp': (
        encode(RGB, 'WEBP', lossless=True, save_all=True, append_images=[_second]),
        RGB,
        0,
    ),
    'animated.png': (encode(RGB, save_all=True, append_images=[_second]), RGB, 0),
    'animated.gif': (encode(GREY, 'GIF', save_all=True, append_images=[_second]), None, 0),
    'plain.bmp': (encode(RGB, 'BMP'), RGB, 0),
    'plain.ppm': (encode(RGB, 'PPM'), RGB, 0),
    'a photo.png': (encode(RGB, 'JPEG', quality=95), RGB, 2),  # its name is not its kind
}
