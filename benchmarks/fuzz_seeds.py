"""Small good images and labels, of which a fuzz makes bad ones."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import scipy.io
from PIL import Image, ImageCms, features

SIZE = (20, 28)


def encode(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def good_images() -> list[bytes]:
    """A picture in the kinds of file that are read."""
    rng = np.random.default_rng(0)
    rgb = cv2.resize(rng.integers(0, 256, (4, 3, 3), dtype=np.uint8), SIZE[::-1])
    photo, grey = Image.fromarray(rgb), rgb[..., 0]
    exif = Image.Exif()
    exif[0x0112] = 6
    rgba = np.dstack([rgb, 255 - grey])
    lab = ImageCms.profileToProfile(
        photo, *map(ImageCms.createProfile, ('sRGB', 'LAB')), outputMode='LAB'
    )
    wide = grey.astype(np.uint16) * 257
    found = [encode(each, 'PNG') for each in (rgb, grey, rgba, wide, grey > 99, photo.quantize(7))]
    found += [
        encode(rgb, 'PNG', exif=exif),
        encode(rgb, 'PNG', save_all=True, append_images=[photo]),
        *(encode(rgb, 'JPEG', exif=exif, progressive=each) for each in (False, True)),
        encode(grey, 'JPEG'),
        encode(photo.convert('CMYK'), 'JPEG'),
        encode(rgb, 'MPO', save_all=True, append_images=[photo]),
        *(encode(rgb, 'TIFF', compression=each) for each in (None, 'tiff_lzw', 'jpeg', 'packbits')),
        encode(rgb, 'TIFF', exif=exif),
        encode(lab, 'TIFF'),
        encode(grey / np.float32(255), 'TIFF'),
        encode(wide, 'TIFF'),
        encode(rgba, 'WEBP', lossless=True),
        encode(rgb, 'WEBP', save_all=True, append_images=[photo.rotate(90)]),
        encode(rgb, 'BMP'),
        encode(photo.quantize(9), 'BMP'),
        encode(photo.quantize(9), 'GIF', save_all=True, append_images=[photo.rotate(180)]),
        encode(rgb, 'PPM'),
        b'P5 28 20 65535\n' + wide.astype('>u2').tobytes(),
        b'P2 3 2 255\n# said\n1 2 3 4 5 255\n',
    ]
    return found + ([encode(rgb, 'AVIF')] if features.check('avif') else [])


def good_labels() -> dict[str, list[tuple[str, bytes]]]:
    """Task to files of it, each with its suffix."""
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 5, SIZE, dtype=np.uint8)
    depth = np.linspace(0.5, 9, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE)
    normals = rng.normal(size=(*SIZE, 3)).astype(np.float32)
    normals[..., 2] = np.abs(normals[..., 2])
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    maps = dict(
        semseg=[classes, classes.astype(np.int64)],
        depth=[depth, (depth * 1000).astype(np.uint16)],
        normals=[normals, np.uint8((normals + 1) / 2 * 255)],
        edge=[np.uint8(classes > 3) * np.uint8(255), (classes > 3).astype(np.float32)],
        disparity=[depth * 7, np.uint16(depth * 1792 + 1)],
        saliency=[np.uint8(classes > 1) * np.uint8(255), classes > 1],
        human_parts=[classes],
    )
    return {
        name: [file for each in arrays for file in _label(each)] for name, arrays in maps.items()
    }


def _label(array: np.ndarray) -> list[tuple[str, bytes]]:
    buffers = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(buffers[0], array)
    scipy.io.savemat(buffers[1], dict(map=array))
    scipy.io.savemat(buffers[2], dict(map=array), do_compression=True)
    found = list(zip(('.npy', '.mat', '.mat'), (each.getvalue() for each in buffers), strict=True))
    if array.dtype in (np.uint8, np.uint16):
        found.append(('.png', cv2.imencode('.png', array)[1].tobytes()))
    if array.ndim == 3 and array.dtype == np.uint8:
        found.append(('.jpg', cv2.imencode('.jpg', array)[1].tobytes()))
    if array.dtype == np.uint8 and array.ndim == 2 and array.max() < 16:
        picture = Image.fromarray(array, 'P')
        picture.putpalette(list(range(48)))
        found.append(('.png', encode(picture, 'PNG')))
    return found
