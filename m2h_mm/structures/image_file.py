"""The one reader of images: of training, tests, inference and the web page."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from .orientation import ORIENTATIONS, lies_on_its_side, turn_upright

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.gif', '.ppm', '.pgm')
"""In small letters: compare with ``suffix.lower()``. What a file is, its content decides."""
FORMATS = ('PNG', 'JPEG', 'WEBP', 'TIFF', 'BMP', 'GIF', 'PPM', 'AVIF')
"""Others are not even tried: some decoders of Pillow start programs."""

# What an intact file ends with. Others have no such mark: they are decoded to know.
_ENDS = {'PNG': b'IEND', 'JPEG': b'\xff\xd9', 'MPO': b'\xff\xd9'}
# Writers may append some bytes, and a PNG may have its EXIF behind the pixels, in one of these.
_TAIL_BYTES = 2**16
_LATE_NOTES = (b'eXIf', b'Raw profile type', b'XML:com.adobe.xmp')
# Of a PNG: up to the kind of its pixels, channels of the kinds, bytes that one can stand for.
_HEAD_BYTES, _CHANNELS, _MOST_PACKED = 26, {2: 3, 4: 2, 6: 4}, 1032
_ORIENTATION = 0x0112
# OpenCV before 4.11 does not have it; the channels would have to be exchanged, which takes longer.
_RGB = getattr(cv2, 'IMREAD_COLOR_RGB', None)


class ImageHeader(NamedTuple):
    """What is known of an image before it is decoded.

    Attributes:
        stored: ``(H, W)`` of the pixels as they stand in the file.
        orientation: how the camera was held, 1..8 as EXIF numbers it; 1 is upright.
    """

    stored: tuple[int, int]
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the upright image."""
        return self.stored[::-1] if lies_on_its_side(self.orientation) else self.stored


def read_image(source: Any) -> np.ndarray:
    """Any image as ``(H, W, 3)`` uint8 RGB, upright.

    Rotation flags of cameras (EXIF) are applied. Grey, palette, CMYK, YCbCr and LAB images are
    converted; of 16 bits the upper eight are taken; grey floating point is 0..1. What is
    transparent is laid on white. Of an animation the first picture is taken.

    Plain JPEG and PNG are decoded by OpenCV, which is the faster, all others by Pillow; the pixels
    of both are equal.

    Args:
        source: a file (path), the bytes of one, an open binary file, a PIL image, or an array:
            ``(H, W)``, ``(H, W, 1)``, RGB ``(H, W, 3)`` or RGBA ``(H, W, 4)``, uint8 or uint16.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file system fails.
        ValueError: it is no image, is damaged (whatever its decoder raises), or something else.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, b'', 'The image')
    data = _bytes_of(source)
    name = f'Image {os.fspath(source)}' if isinstance(source, (str, os.PathLike)) else 'The image'
    if not data:
        raise ValueError(f'{name} has zero bytes.')
    return _decode(data, data[-_TAIL_BYTES:], name)


def image_header(path: str | Path) -> ImageHeader:
    """The header of an image file; its ``size`` is that of what :func:`read_image` returns.

    Of JPEG and PNG no pixel is decoded where the end of the file is in order; others are decoded.

    Raises:
        OSError: there is no such file, or the file system fails.
        ValueError: the file is empty, cut off or no image.
    """
    with open(path, 'rb') as file:
        length = os.fstat(file.fileno()).st_size
        if not length:
            raise ValueError(f'Image {path} has zero bytes.')
        try:
            with Image.open(file, formats=FORMATS) as image:
                # Not the end of the small picture that stands in the header of many photos.
                file.seek(max(file.tell(), length - _TAIL_BYTES))
                tail = file.read()
                file.seek(0)
                _require_room(image, file.read(_HEAD_BYTES), length)
                if image.format not in _ENDS:
                    _to_rgb(image)
                elif _ENDS[image.format] not in tail:
                    read_image(path)
                orientation = _orientation(image, tail)
                return ImageHeader((image.height, image.width), orientation)
        except Exception as error:  # decoders raise nearly anything on damaged files
            raise ValueError(_complaint(f'Image {path}', error.__cause__ or error)) from error


def image_size(path: str | Path) -> tuple[int, int]:
    """``(H, W)`` of what :func:`read_image` returns, see :func:`image_header`."""
    return image_header(path).size


def require_image_source(source: Any, name: str = 'The image') -> None:
    """Raise a ValueError unless ``source`` is of a type that :func:`read_image` takes."""
    known = (str, os.PathLike, bytes, bytearray, memoryview, np.ndarray, Image.Image)
    if isinstance(source, known) or hasattr(source, 'read'):
        return
    is_tensor = type(source).__module__.partition('.')[0] == 'torch'
    raise ValueError(
        f'{name}: expected a file, the bytes of one, an open file, a PIL image or a NumPy array, '
        f'got {type(source).__name__}.'
        + is_tensor
        * ' Of a (3, H, W) in 0..255 give x.byte().permute(1, 2, 0).cpu().numpy().'
    )


def _bytes_of(source: Any) -> bytes:
    require_image_source(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(
                f'Image {path} is no file.' if path.exists() else f'There is no image {path}.'
            )
        return path.read_bytes()
    if hasattr(source, 'seek') and getattr(source, 'seekable', lambda: True)():
        source.seek(0)  # what has just been written stands at its end
    data = source.read()
    if not isinstance(data, bytes):
        raise ValueError("The image: the file is open for text. Open it with open(path, 'rb').")
    return data


def _decode(source: bytes | Image.Image, tail: bytes, name: str) -> np.ndarray:
    try:
        if isinstance(source, Image.Image):
            pixels = _to_rgb(source)
            return turn_upright(pixels, _orientation(source, tail))
        with Image.open(io.BytesIO(source), formats=FORMATS) as image:
            _require_room(image, source[:_HEAD_BYTES], len(source))
            orientation = _orientation(image, tail)
            pixels = _decode_plain(source) if _is_plain(image) else None
            return turn_upright(_to_rgb(image) if pixels is None else pixels, orientation)
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise ValueError(_complaint(name, error)) from error


def _require_room(image: Image.Image, head: bytes, length: int) -> None:
    """Refuse a PNG that announces more pixels than its bytes can hold: they would be blank, and
    fill the memory.
    """
    if image.format != 'PNG':
        return
    width, height, bits, colour = struct.unpack_from('>IIBB', head, 16)
    if width * height * bits * _CHANNELS.get(colour, 1) > 8 * _MOST_PACKED * length:
        raise ValueError(
            f'its {length} bytes cannot hold the {width}x{height} pixels that it announces'
        )


def _complaint(name: str, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f'{name} is no image that can be read; expected {", ".join(FORMATS)}.'
    return f'{name} cannot be read ({str(error).strip() or type(error).__name__}).'


def _is_plain(image: Image.Image) -> bool:
    """Whether OpenCV's pixels are Pillow's."""
    return (
        image.format in _ENDS
        and image.mode in ('L', 'RGB')
        and 'transparency' not in image.info
        and not (image.format == 'PNG' and image.is_animated)
    )


def _decode_plain(data: bytes) -> np.ndarray | None:
    """None where OpenCV does not succeed; Pillow then says why."""
    if _RGB is None:
        return None
    return cv2.imdecode(np.frombuffer(data, np.uint8), _RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def _orientation(image: Image.Image, tail: bytes) -> int:
    """How the pixels have to be turned, 1 where nothing that can be understood is said of it."""
    late = image.format == 'PNG' and any(note in tail for note in _LATE_NOTES)
    if image.format not in _ENDS or late:
        image.load()  # It turns a TIFF, and reads what stands behind the pixels.
    try:
        # Not the method of PNG, which would decode any file for it.
        orientation = Image.Image.getexif(image).get(_ORIENTATION, 1)
        return int(orientation) if orientation in ORIENTATIONS else 1
    except Exception:  # The pixels are good, whatever is noted about them.
        return 1


def _to_rgb(image: Image.Image) -> np.ndarray:
    """``(H, W, 3)`` uint8 as it is stored."""
    if image.mode.startswith('I') or image.mode == 'F':
        return _from_numbers(image)
    if image.mode == 'LAB':
        from PIL import ImageCms

        lab, rgb = map(ImageCms.createProfile, ('LAB', 'sRGB'))
        return np.array(ImageCms.profileToProfile(image, lab, rgb, outputMode='RGB'))
    if image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info:
        layer = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', layer.size, 'white'), layer)
    return np.array(image.convert('RGB'))


def _from_numbers(image: Image.Image) -> np.ndarray:
    """Grey of more than eight bits."""
    values = np.asarray(image)
    least, most = values.min(), values.max()
    if image.mode == 'F':
        if not (least >= 0 and most <= 1):
            raise ValueError(
                f'floating point is taken for grey in 0..1, this is {least}..{most}; save it with '
                '8 or 16 bits'
            )
        grey = np.rint(values * 255).astype(np.uint8)
    else:
        # Pillow may hold 16 bits in 32. Small numbers in 32 bits could be those of 8 as well.
        known = image.mode != 'I' or image.format in ('PNG', 'PPM')
        if least < 0 or most > 65535 or not (known or most > 255 or most == 0):
            raise ValueError(
                f'32-bit numbers are taken for grey in 0..65535, this is {least}..{most}; save it '
                'with 8 or 16 bits'
            )
        grey = (values >> 8).astype(np.uint8)
        grey[values == image.info.get('transparency')] = 255
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def _from_array(array: np.ndarray) -> np.ndarray:
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if channels not in (1, 3, 4) or not array.size or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            'The image: expected an array (H, W), (H, W, 3) or (H, W, 4) of uint8 or uint16, got '
            f'{array.shape} {array.dtype}. Scale other values to 0..255 first; several images are '
            'a list.'
        )
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if channels == 4:
        return _to_rgb(Image.fromarray(array, 'RGBA'))
    return np.array(np.broadcast_to(array.reshape(*array.shape[:2], -1), (*array.shape[:2], 3)))
