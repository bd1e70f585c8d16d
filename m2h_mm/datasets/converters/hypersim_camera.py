"""The cameras of Hypersim, some of which have a tilted lens.

``M_cam_from_uv`` of a scene, 3x3, turns a pixel into its ray ``M (u, v, 1)``: u points right and v
up, both run from -1 to 1 over the image, and the camera frame is x right, y up, z toward the
camera.
"""

from __future__ import annotations

import numpy as np

STANDARD_CAMERA = np.diag([3**-0.5, 0.75 * 3**-0.5, -1.0])
"""60 degrees wide, 4:3, square pixels."""

# Entries are about 1: what is smaller moves no pixel by a thousandth of its width.
_ZERO = 1e-6


def pixel_rays(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Unit vectors ``(H, W, 3)`` float32 from the camera through the pixels of an image of ``size``
    (H, W).
    """
    height, width = size
    u = (2 * np.arange(width) + 1) / width - 1
    v = 1 - (2 * np.arange(height) + 1) / height
    rays = u[:, None] * matrix[:, 0] + v[:, None, None] * matrix[:, 1] + matrix[:, 2]
    return (rays / np.linalg.norm(rays, axis=2, keepdims=True)).astype(np.float32)


def image_plane_rotation(matrix: np.ndarray) -> np.ndarray:
    """From the camera frame to that of the image plane: ``(3, 3)``, rows x along u, y upward, z
    toward the camera.

    The two differ where the lens is tilted. An image tells nothing of the tilt: seen from the frame
    of its plane, it is one of an ordinary camera, ``rotation @ matrix``, and depth along the axis
    of that frame is what other data sets call depth.
    """
    x = matrix[:, 0] / np.linalg.norm(matrix[:, 0])
    z = np.cross(matrix[:, 0], matrix[:, 1])
    z /= np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z])


def intrinsics(
    matrix: np.ndarray, size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """``(fx, fy, cx, cy)`` in pixels of an image of ``size`` (H, W), pixel centres at integer
    coordinates.

    None where four numbers cannot say it, because the image plane is tilted against the camera
    frame, or skewed: a pixel's x and y over its depth are then not linear in its column and row.
    """
    if np.abs(matrix[[0, 1, 2, 2], [1, 0, 0, 1]]).max() > _ZERO:
        return None
    height, width = size
    (right, _, x), (_, up, y), (_, _, z) = matrix.tolist()
    return (
        -z * width / (2 * right),
        -z * height / (2 * up),
        (width * (1 - x / right) - 1) / 2,
        (height * (1 + y / up) - 1) / 2,
    )
