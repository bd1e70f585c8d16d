"""The camera that a CameraInfo describes, and pictures rectified by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from m2h_mm.geometry.pinhole import check_camera, move_camera
from m2h_mm.system.spelling import did_you_mean

MODELS = ('plumb_bob', 'rational_polynomial', 'equidistant')
# Fisheyes are called by two names.
_ALIASES = {'fisheye': 'equidistant', 'kannala_brandt4': 'equidistant'}
_COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
OUTPUT_MODEL = 'plumb_bob'


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with distortion, for images of one size.

    Attributes:
        size: (H, W) of its images.
        matrix: ``(3, 3)`` intrinsics of the image as it comes, pixels.
        model: of the distortion, one of :data:`MODELS`.
        distortion: its coefficients; empty: none.
        rotation: ``(3, 3)``, from the camera to the rectified one.
        projection: ``(3, 4)`` of the rectified image.
    """

    size: tuple[int, int]
    matrix: np.ndarray
    model: str
    distortion: np.ndarray
    rotation: np.ndarray
    projection: np.ndarray

    @classmethod
    def from_message(cls, message: Any, size: tuple[int, int]) -> Camera:
        """From a ``sensor_msgs/CameraInfo`` of rospy, rclpy or rosbags.

        Args:
            message: of an image of any size; binning and region of interest are minded.
            size: (H, W) of the images. Where the message is of another one of the same shape, as of
                images that were made smaller on the way, it is scaled.

        Raises:
            ValueError: it is not calibrated, its distortion is not known, or it is of an image of
                another shape.
        """
        K, D, R, P = (_field(message, name) for name in 'KDRP')
        model = _ALIASES.get(message.distortion_model, message.distortion_model) or OUTPUT_MODEL
        if model not in MODELS:
            raise ValueError(
                f'CameraInfo: distortion_model {model!r} is not known; expected one of '
                f'{", ".join(MODELS)}.' + did_you_mean(model, MODELS)
            )
        if D.any() and len(D) not in _COEFFICIENTS[model]:
            raise ValueError(
                f'CameraInfo: {model} has {" or ".join(map(str, _COEFFICIENTS[model]))} '
                f'coefficients, got {len(D)}.'
            )
        matrix = K.reshape(3, 3)
        if not K.any():
            raise ValueError(
                'CameraInfo: all intrinsics are 0, which is how ROS says that a camera is not '
                'calibrated.'
            )
        scale, shift = _to_image(message, size)
        matrix = move_camera(matrix, scale, shift)
        check_camera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], size)
        projection = P.reshape(3, 4).copy()
        if P.any():
            # The fourth column is the focal length times the baseline of a stereo pair.
            moved = move_camera(projection[:, :3], scale, shift)
            projection = np.column_stack((moved, projection[:, 3] * (scale[0], scale[1], 1)))
        else:
            projection = np.column_stack((matrix, np.zeros(3)))
        rotation = R.reshape(3, 3) if R.any() else np.eye(3)
        return cls(size, matrix, model, D if D.any() else D[:0], rotation, projection)

    def same_as(self, other: Camera) -> bool:
        """Whether all numbers are equal."""
        mine, others = (
            (one.size, one.model, *(array.tobytes() for array in one._arrays))
            for one in (self, other)
        )
        return mine == others

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.matrix, self.distortion, self.rotation, self.projection

    @property
    def pinhole(self) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) of the image as it comes."""
        return _four(self.matrix)

    @cached_property
    def rectified(self) -> Camera:
        """That of the rectified image."""
        none = np.zeros(0)
        return Camera(
            self.size, self.projection[:, :3], OUTPUT_MODEL, none, np.eye(3), self.projection
        )

    @cached_property
    def needs_rectifying(self) -> bool:
        return bool(
            self.distortion.size
            or not np.allclose(self.rotation, np.eye(3))
            or not np.allclose(self.matrix, self.projection[:, :3])
        )

    @cached_property
    def _lookup(self) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of the image as it comes, for each pixel of the rectified one."""
        height, width = self.size
        undistort = (
            cv2.fisheye.initUndistortRectifyMap
            if self.model == 'equidistant'
            else cv2.initUndistortRectifyMap
        )
        distortion = self.distortion if self.distortion.size else np.zeros(4)
        return undistort(
            self.matrix,
            distortion,
            self.rotation,
            self.projection[:, :3],
            (width, height),
            cv2.CV_32FC1,
        )

    @cached_property
    def seen(self) -> np.ndarray:
        """``(H, W)`` bool: pixels of the rectified image that the camera has seen."""
        height, width = self.size
        x, y = self._lookup
        return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)

    def rectify(self, picture: np.ndarray) -> np.ndarray:
        """``(H, W, 3)`` as a camera without distortion sees it; black where nothing was seen."""
        return cv2.remap(picture, *self._lookup, cv2.INTER_LINEAR)

    def fields(self, is_ros2: bool) -> dict[str, Any]:
        """The fields of a ``sensor_msgs/CameraInfo`` but its header."""
        names = 'kdrp' if is_ros2 else 'KDRP'
        distortion = self.distortion if self.distortion.size else np.zeros(5)
        values = (self.matrix, distortion, self.rotation, self.projection)
        return dict(
            height=self.size[0],
            width=self.size[1],
            distortion_model=self.model,
            **{name: value.reshape(-1) for name, value in zip(names, values, strict=True)},
        )


def _field(message: Any, name: str) -> np.ndarray:
    """ROS 1 writes K, ROS 2 k."""
    value = getattr(message, name) if hasattr(message, name) else getattr(message, name.lower())
    return np.asarray(value, np.float64)


def _four(matrix: np.ndarray) -> tuple[float, float, float, float]:
    return tuple(float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))


def _to_image(
    message: Any, size: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Scale and shift from the whole sensor, of which the message is, to the image."""
    roi = message.roi
    height, width = (roi.height or message.height), (roi.width or message.width)
    if not (height and width):  # drivers that leave it out
        height, width = size
    scale = (size[1] / width, size[0] / height)
    binned = (size[1] * (message.binning_x or 1), size[0] * (message.binning_y or 1))
    # A part of the sensor need not be a multiple of the bins.
    fits = abs(binned[0] - width) < (message.binning_x or 1) and abs(binned[1] - height) < (
        message.binning_y or 1
    )
    if not fits and abs(scale[0] / scale[1] - 1) > 0.02:
        raise ValueError(
            f'CameraInfo: it is of images of {width}x{height} pixels, the image has '
            f'{size[1]}x{size[0]}, which is another shape.'
        )
    # The corner of the part is moved to the corner of the image, then all is made smaller.
    return scale, (-roi.x_offset * scale[0], -roi.y_offset * scale[1])
