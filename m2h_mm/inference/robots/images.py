"""Pictures as ROS sends them, raw or compressed, and as the network takes them."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np

from m2h_mm.system.spelling import did_you_mean

# Channels and bytes of each. What an encoding leaves open is as ROS's own cv_bridge has it.
_ORDERS = {
    'mono8': (1, 1, cv2.COLOR_GRAY2RGB),
    'mono16': (1, 2, cv2.COLOR_GRAY2RGB),
    '8UC1': (1, 1, cv2.COLOR_GRAY2RGB),
    '8UC3': (3, 1, cv2.COLOR_BGR2RGB),
    '8UC4': (4, 1, cv2.COLOR_BGRA2RGB),
    'rgb8': (3, 1, None),
    'rgb16': (3, 2, None),
    'bgr8': (3, 1, cv2.COLOR_BGR2RGB),
    'bgr16': (3, 2, cv2.COLOR_BGR2RGB),
    'rgba8': (4, 1, cv2.COLOR_RGBA2RGB),
    'rgba16': (4, 2, cv2.COLOR_RGBA2RGB),
    'bgra8': (4, 1, cv2.COLOR_BGRA2RGB),
    'bgra16': (4, 2, cv2.COLOR_BGRA2RGB),
    'yuv422': (2, 1, cv2.COLOR_YUV2RGB_UYVY),
    'uyvy': (2, 1, cv2.COLOR_YUV2RGB_UYVY),
    'yuv422_yuy2': (2, 1, cv2.COLOR_YUV2RGB_YUYV),
    'yuyv': (2, 1, cv2.COLOR_YUV2RGB_YUYV),
}
_MOSAICS = {
    f'bayer_{pattern}{bits}': (1, bits // 8, getattr(cv2, f'COLOR_Bayer{pattern.upper()}2RGB'))
    for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')
    for bits in (8, 16)
}
ENCODINGS = {**_ORDERS, **_MOSAICS}
"""Encoding of a raw image to its channels, the bytes of each, and OpenCV's way to RGB."""
DEPTHS = ('16UC1', '32FC1', '64FC1')


class UnknownEncoding(ValueError):
    """Of all pictures of a topic, not of one that is damaged."""


class RawImage(Protocol):
    """``sensor_msgs/Image`` of rospy, rclpy or rosbags."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImage(Protocol):
    """``sensor_msgs/CompressedImage`` of rospy, rclpy or rosbags."""

    format: str
    data: Any


def rgb_of(message: RawImage | CompressedImage) -> np.ndarray:
    """The picture of a message, ``(H, W, 3)`` uint8 RGB.

    Of 16 bits the upper 8 are taken, as of files. Grey is repeated, a mosaic (Bayer) is
    interpolated, alpha is left out: cameras have none, and drivers fill it with anything.

    Raises:
        UnknownEncoding: it is no picture, or of an encoding that is not read.
        ValueError: too few bytes, or a picture that cannot be decoded.
    """
    return _raw(message) if hasattr(message, 'encoding') else _compressed(message)


def _raw(message: RawImage) -> np.ndarray:
    channels, bytes_each, way = _look_up(message.encoding)
    height, width, step = message.height, message.width, message.step
    data = np.frombuffer(message.data, np.uint8)
    row = width * channels * bytes_each
    if height < 1 or width < 1 or step < row or len(data) < step * (height - 1) + row:
        raise ValueError(
            f'An image {message.encoding} of {width}x{height} pixels has {row} bytes a row; it '
            f'states {step} a row, and has {len(data)} in all.'
        )
    # Rows may be padded, the last one need not be.
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    pixels = np.ascontiguousarray(rows)
    if bytes_each == 2:
        pixels = pixels.reshape(height, -1, 2)[:, :, 0 if message.is_bigendian else 1]
    pixels = np.ascontiguousarray(pixels).reshape(height, width, channels)
    return pixels if way is None else _convert(pixels, way, message.encoding)


def _compressed(message: CompressedImage) -> np.ndarray:
    """What image_transport writes: the encoding of the raw image, then how it was compressed."""
    source, _, how = (part.strip() for part in message.format.partition(';'))
    if source in DEPTHS or 'compressedDepth' in how:
        raise _no_picture(source or message.format)
    data = np.frombuffer(message.data, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if pixels is None:
        raise ValueError(
            f'A compressed image ({message.format!r}, {len(message.data)} bytes) cannot be decoded.'
        )
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        way = _MOSAICS[source][2] if source in _MOSAICS else cv2.COLOR_GRAY2RGB
        return _convert(pixels[:, :, None], way, source)
    pixels = np.ascontiguousarray(pixels[:, :, :3])
    # A publisher that was told to keep RGB has written it in the place of BGR.
    if how and source.startswith(('rgb', 'bgr')) and 'compressed bgr' not in how:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _convert(pixels: np.ndarray, way: int, encoding: str) -> np.ndarray:
    try:
        return cv2.cvtColor(pixels, way)
    except cv2.error as error:  # a mosaic or colour that is shared by two columns, of an odd width
        height, width = pixels.shape[:2]
        raise ValueError(
            f'An image {encoding} of {width}x{height} pixels cannot be converted: {error.err}.'
        ) from error


def _look_up(encoding: str) -> tuple[int, int, int | None]:
    if encoding in ENCODINGS:
        return ENCODINGS[encoding]
    raise _no_picture(encoding)


def _no_picture(encoding: str) -> UnknownEncoding:
    if encoding in DEPTHS:
        return UnknownEncoding(
            f'Images of the encoding {encoding} are depth, not pictures: choose another topic.'
        )
    return UnknownEncoding(
        f'Images of the encoding {encoding!r} are not read; known are {", ".join(ENCODINGS)}.'
        + did_you_mean(encoding, ENCODINGS)
    )


def image_fields(pixels: np.ndarray, encoding: str) -> dict[str, Any]:
    """The fields of a ``sensor_msgs/Image`` but its header.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``, of the type that the encoding says.
        encoding: such as ``32FC1``.
    """
    pixels = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder('<'))
    return dict(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].nbytes,
        data=pixels.reshape(-1).view(np.uint8),
    )
