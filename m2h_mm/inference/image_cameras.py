"""Which camera took an image: stated, noted in the file, or not known."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from m2h_mm.datasets.photo_camera import camera_of_file
from m2h_mm.geometry.pinhole import DEFAULT_FOV, camera_of_view, check_camera
from m2h_mm.inference.names import path_of

Camera = Sequence[float] | float | None
UNKNOWN = (
    'Depth is in proportion to the focal length, and nothing is known of the camera of {}: a view '
    f'of {DEFAULT_FOV:g} degrees from left to right is assumed, and the scale is a guess. Say what '
    'it was: --fov or --intrinsics, M2HInferencer(camera=...).'
)


def require_camera(camera: Camera) -> None:
    """
    Raises:
        ValueError: neither (fx, fy, cx, cy) of a camera, nor a field of view in degrees, nor None.
    """
    if camera is None:
        return
    if isinstance(camera, Real):
        camera_of_view((1, 1), camera)
        return
    if len(camera) != 4:
        raise ValueError(
            'camera: expected (fx, fy, cx, cy) in pixels, a horizontal field of view in degrees, '
            f'or None, got {camera!r}.'
        )
    check_camera(*camera)


def intrinsics_of(camera: Camera, source: Any, size: tuple[int, int]) -> np.ndarray | None:
    """``cam2img`` ``(3, 3)`` of an image of ``size`` (H, W); None if nothing is known of its
    camera.

    Args:
        camera: what was stated, see :func:`require_camera`. None: what the file notes is taken.
        source: of the image; a file may note its focal length (EXIF).
        size: of the image, upright.

    Raises:
        ValueError: no image of this size is taken with the stated camera.
    """
    if camera is None:
        path = path_of(source)
        camera = None if path is None else camera_of_file(path)
    elif isinstance(camera, Real):
        camera = camera_of_view(size, camera)
    if camera is None:
        return None
    check_camera(*camera, size)
    fx, fy, cx, cy = camera
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
