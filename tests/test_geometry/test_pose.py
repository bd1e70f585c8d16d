"""Poses: read, inverted, mirrored and shrunk."""

import numpy as np
import pytest

from m2h_mm.geometry.pose import (
    check_pose,
    invert_pose,
    mirror_pose,
    pose_from_quaternion,
    shrink_pose,
)

CAMERA = np.array([[50.0, 0, 30], [0, 55, 20], [0, 0, 1]])


def some_pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    pose = np.eye(4)
    pose[:3, :3] = turn * np.linalg.det(turn)
    pose[:3, 3] = rng.normal(size=3)
    return pose


def project(point: np.ndarray, pose: np.ndarray, camera=CAMERA) -> np.ndarray:
    seen = invert_pose(pose) @ [*point, 1]
    return (camera @ seen[:3])[:2] / seen[2]


def test_inverse():
    poses = np.stack([some_pose(seed) for seed in range(3)])
    np.testing.assert_allclose(
        invert_pose(poses) @ poses, np.tile(np.eye(4), (3, 1, 1)), atol=1e-12
    )


def test_quaternion_of_a_quarter_turn():
    # About z: x becomes y.
    pose = pose_from_quaternion([1, 2, 3], [0, 0, np.sqrt(0.5), np.sqrt(0.5)])
    np.testing.assert_allclose(pose @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-12)
    np.testing.assert_allclose(check_pose(pose), pose, atol=1e-12)
    with pytest.raises(ValueError, match='length 1'):
        pose_from_quaternion([1, 2, 3], [0, 0, 0, 0])


def test_quaternion_of_any_turn():
    # Unit quaternions turn p by q p q*, here with products of 4x4 matrices.
    x, y, z, w = quaternion = np.array([0.1, -0.7, 0.5, 0.5]) / 1.0
    left = np.array([[w, -z, y, x], [z, w, -x, y], [-y, x, w, z], [-x, -y, -z, w]])
    right = np.array([[w, -z, y, -x], [z, w, -x, -y], [-y, x, w, -z], [x, y, z, w]])
    pose = pose_from_quaternion([0, 0, 0], quaternion)
    np.testing.assert_allclose(pose[:3, :3], (left @ right)[:3, :3], atol=1e-12)


def test_mirrored_pose_is_rigid_and_sees_the_mirrored_world_mirrored():
    pose, point, width = some_pose(1), np.array([0.3, -0.2, 2.0]), 64
    world = (pose @ [*point, 1])[:3]
    mirrored_camera = CAMERA.copy()
    mirrored_camera[0, 2] = width - 1 - CAMERA[0, 2]
    mirrored = mirror_pose(pose)
    check_pose(mirrored)
    x, y = project(world, pose)
    found = project(world * [-1, 1, 1], mirrored, mirrored_camera)
    np.testing.assert_allclose(found, [width - 1 - x, y])
    np.testing.assert_allclose(mirror_pose(mirrored), pose)


def test_shrunk_world_is_seen_alike():
    pose, point = some_pose(2), np.array([0.3, -0.2, 2.0])
    world = (pose @ [*point, 1])[:3]
    np.testing.assert_allclose(project(world / 1.7, shrink_pose(pose, 1.7)), project(world, pose))


def test_a_pose_of_few_digits_becomes_orthonormal():
    pose = check_pose(some_pose(3).round(3))
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(check_pose(some_pose(3)[:3]), some_pose(3), atol=1e-12)


@pytest.mark.parametrize(
    ('pose', 'message'),
    [
        (np.full((4, 4), -np.inf), 'finite'),
        (np.eye(3), 'shape'),
        (np.eye(4) * 2, 'last row'),
        (np.diag([1.0, 1, -1, 1]), 'rotation'),
        (np.diag([2.0, 1, 1, 1]), 'rotation'),
        ('no pose', '4x4 numbers'),
    ],
)
def test_what_is_no_pose(pose, message):
    with pytest.raises(ValueError, match=message):
        check_pose(pose)
