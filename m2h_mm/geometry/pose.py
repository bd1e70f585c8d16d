"""Poses: rigid transforms (4, 4) float64 from a camera to the world of its sequence.

The camera frame of a pose is the optical one, x right, y down, z forward, as OpenCV, 7-Scenes, TUM
RGB-D, ScanNet and the optical frames of ROS have it. Lengths are metres.
"""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-2
"""How far a rotation that is read from a file may be off: some hold few digits."""


def check_pose(pose: np.ndarray) -> np.ndarray:
    """A pose (4, 4) float64 from numbers of a file, its rotation made exactly orthonormal.

    Args:
        pose: (4, 4), or (3, 4) without the last row.

    Raises:
        ValueError: another shape, numbers that are not finite, or no rigid transform.
    """
    try:
        pose = np.array(pose, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f'expected a pose of 4x4 numbers, got {pose!r}'[:200]) from None
    if pose.shape == (3, 4):
        pose = np.concatenate([pose, [[0, 0, 0, 1]]])
    if pose.shape != (4, 4):
        raise ValueError(f'expected a pose of 4x4 numbers, got an array of shape {pose.shape}')
    if not np.isfinite(pose).all():
        raise ValueError('expected a pose of finite numbers')
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > TOLERANCE:
        raise ValueError(f'expected 0 0 0 1 as the last row of a pose, got {pose[3].tolist()}')
    left, stretch, right = np.linalg.svd(pose[:3, :3])
    if np.abs(stretch - 1).max() > TOLERANCE or np.linalg.det(pose[:3, :3]) < 0:
        raise ValueError(
            'expected a rotation in the first three rows and columns of a pose, got '
            f'{pose[:3, :3].round(3).tolist()}'
        )
    pose[:3, :3] = left @ right
    pose[3] = (0, 0, 0, 1)
    return pose


def invert_pose(pose: np.ndarray) -> np.ndarray:
    """World to camera from camera to world, or the other way round: ``(..., 4, 4)``."""
    turn = np.swapaxes(pose[..., :3, :3], -1, -2)
    inverse = np.zeros_like(pose)
    inverse[..., :3, :3] = turn
    inverse[..., :3, 3:] = -turn @ pose[..., :3, 3:]
    inverse[..., 3, 3] = 1
    return inverse


def pose_from_quaternion(position: np.ndarray, quaternion: np.ndarray) -> np.ndarray:
    """The pose of a camera at ``position`` (3,), turned by ``quaternion`` (x, y, z, w).

    Raises:
        ValueError: numbers that are not finite, or a quaternion far from unit length.
    """
    values = np.array([*position, *quaternion], dtype=np.float64)
    if values.shape != (7,) or not np.isfinite(values).all():
        raise ValueError(f'expected 7 finite numbers tx ty tz qx qy qz qw, got {values.tolist()}')
    length = np.linalg.norm(values[3:])
    if abs(length - 1) > TOLERANCE:
        raise ValueError(f'expected a quaternion of length 1, got {values[3:].tolist()}')
    pose = np.eye(4)
    axis, w = values[3:6] / length, values[6] / length
    cross = np.cross(np.eye(3), axis)  # cross @ v is the product axis x v
    pose[:3, :3] = (w * w - axis @ axis) * np.eye(3) + 2 * (np.outer(axis, axis) + w * cross)
    pose[:3, 3] = values[:3]
    return pose


def mirror_pose(pose: np.ndarray) -> np.ndarray:
    """The pose of an image that was mirrored left and right, in the mirrored world.

    Camera and world are both mirrored at x = 0, so that the pose stays a rotation and a shift. All
    frames of a sequence have to be mirrored, or none: from a mirrored world nothing can be warped
    into the other.
    """
    mirror = np.array([-1.0, 1.0, 1.0, 1.0])
    return mirror[:, None] * pose * mirror


def shrink_pose(pose: np.ndarray, factor: float) -> np.ndarray:
    """The pose in a world that was shrunk to ``1 / factor`` of its size about its origin."""
    shrunk = pose.copy()
    shrunk[..., :3, 3] /= factor
    return shrunk
