"""Reading images of any kind as RGB arrays, and listing those of a folder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from PIL import Image, ImageOps, UnidentifiedImageError

from m2h_mm.system.folders import list_files, match_files

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.gif', '.ppm', '.pgm')


def read_image(source: str | Path | bytes | np.ndarray) -> np.ndarray:
    """Any image as ``(H, W, 3)`` uint8 RGB, upright.

    Rotation flags of cameras (EXIF) are applied. Grey, palette, CMYK and YCbCr images are
    converted; 16 bits are reduced to 8; what is transparent is laid on white. Of an animation the
    first picture is taken.

    Args:
        source: a file, the bytes of one, or an array: ``(H, W)``, ``(H, W, 1)``, RGB ``(H, W, 3)``
            or RGBA ``(H, W, 4)``, uint8 or uint16.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, is damaged, or is an array of another kind.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    name = 'The image' if isinstance(source, bytes) else f'Image {source}'
    if isinstance(source, bytes):
        data = source
    else:
        if not Path(source).is_file():
            raise FileNotFoundError(f'There is no image {source}.')
        data = Path(source).read_bytes()
    if not data:
        raise ValueError(f'{name} has zero bytes.')
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise ValueError(
            f'{name} is no image that can be read; expected PNG, JPEG, TIFF, WebP, BMP or GIF.'
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'{name} cannot be decoded ({error}).') from error


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith('I') or image.mode == 'F':
        return _from_array(np.asarray(image, np.float64))
    if image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info:
        layer = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', layer.size, 'white'), layer)
    return np.array(image.convert('RGB'))


def _from_array(array: np.ndarray) -> np.ndarray:
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if (
        channels not in (1, 3, 4)
        or not array.size
        or not (array.dtype in (np.uint8, np.uint16) or channels == 1)
    ):
        raise ValueError(
            'The image: expected an array (H, W), (H, W, 3) or (H, W, 4) of uint8 or uint16, got '
            f'{array.shape} {array.dtype}. Scale other values to 0..255 first.'
        )
    if array.dtype != np.uint8:
        # 16 bits, whatever type they come in.
        if array.min() < 0 or array.max() > np.iinfo(np.uint16).max or not np.isfinite(array).all():
            raise ValueError(
                f'The image: expected grey values in 0..65535, got {array.min()}..{array.max()}.'
            )
        array = np.rint(array / 257.0).astype(np.uint8)
    if channels == 4:
        return _to_rgb(Image.fromarray(array, 'RGBA'))
    return np.array(np.broadcast_to(array.reshape(*array.shape[:2], -1), (*array.shape[:2], 3)))


def list_images(source: str | Path) -> list[Path]:
    """The files that a command line means by an image, a folder (its images, those in folders below
    it too), or a glob; see :func:`~m2h_mm.system.folders.list_files`. What is left out is said.

    A file that is named itself is taken whatever its suffix.

    Raises:
        FileNotFoundError: there is nothing of that name, or no image in it.
        ValueError: it is a pipe, a device or the like.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found, where = list_files(path, IMAGE_SUFFIXES), f'no file in the folder {path} ends in'
    elif path.exists():
        raise ValueError(f'Input: {path} is no ordinary file; expected an image or a folder.')
    else:
        found = match_files(source, IMAGE_SUFFIXES)
        where = (
            f'there is no file or folder {source}, and as a pattern it matches nothing that ends in'
        )
    left_out = found.summary()
    if not found.files:
        raise FileNotFoundError(
            f'Input: {where} {", ".join(IMAGE_SUFFIXES)}.'
            + (f' There are {left_out}.' if left_out else '')
        )
    if left_out:
        print_log(f'Left out of {source}: {left_out}.')
    return found.files
