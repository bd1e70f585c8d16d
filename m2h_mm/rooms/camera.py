"""The camera that looks into a room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: (3,) world, metres, z up.
        axes: 3x3, rows right, up, forward in world coordinates.
        cam2img: 3x3 intrinsics in pixels; pixel centres are integers.
        height, width: of the image in pixels.
    """

    position: np.ndarray
    axes: np.ndarray
    cam2img: np.ndarray
    height: int
    width: int

    def steps(self) -> np.ndarray:
        """(3, 3): the ray of pixel (0, 0), and what it gains per column and per row; forward
        component 1.
        """
        right, up, forward = self.axes
        fx, fy, cx, cy = (
            self.cam2img[0, 0],
            self.cam2img[1, 1],
            self.cam2img[0, 2],
            self.cam2img[1, 2],
        )
        return np.array([forward - right * (cx / fx) + up * (cy / fy), right / fx, -up / fy])

    def rays(self) -> np.ndarray:
        """(3, H, W) float32 world directions; a ray's parameter is the depth (optical axis)."""
        start, across, down = self.steps().astype(np.float32)[..., None, None]
        columns, rows = (
            np.arange(self.width, dtype=np.float32),
            np.arange(self.height, dtype=np.float32)[:, None],
        )
        return (start + across * columns) + down * rows


def look(
    position, target, roll: float, focal: float, height: int, width: int, center_shift=(0.0, 0.0)
) -> Camera:
    """A camera at ``position`` that looks at ``target``.

    Args:
        position, target: (3,) world, metres.
        roll: radians about the optical axis.
        focal: focal length in pixels.
        height, width: of the image in pixels.
        center_shift: of the principal point from the image's centre, pixels.
    """
    forward = np.asarray(target, dtype=float) - position
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    right, up = np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right
    cam2img = np.array(
        [
            [focal, 0.0, (width - 1) / 2 + center_shift[0]],
            [0.0, focal, (height - 1) / 2 + center_shift[1]],
            [0.0, 0.0, 1.0],
        ]
    )
    return Camera(
        np.asarray(position, dtype=float), np.stack([right, up, forward]), cam2img, height, width
    )
