"""Motion between two pictures, and of the camera that took them."""

import cv2
import numpy as np
import pytest
from moving_views import SIZE, scene, view

from m2h_mm.inference.motion import Motion, MotionFinder, Rays


def places():
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    return columns, rows


def test_a_shift_is_found_and_what_comes_into_view_is_not_trusted():
    motion = MotionFinder()(view(scene()), view(scene(), 2, 4))
    columns, rows = places()
    inner = (slice(12, -12),) * 2
    assert np.abs(motion.columns - columns - 4)[inner].max() < 0.3
    assert np.abs(motion.rows - rows - 2)[inner].max() < 0.3
    assert motion.trust[inner].min() > 0.9
    assert motion.trust[:, -3:].max() == 0 and motion.trust[-1:].max() == 0


def test_what_looks_different_is_not_trusted_and_brighter_is_not_different():
    now = view(scene(), 0, 2)
    now[30:60, 40:80] = view(scene(1))[30:60, 40:80]
    motion = MotionFinder()(view(scene()), cv2.convertScaleAbs(now, alpha=1.0, beta=12))
    assert motion.trust[34:56, 44:76].mean() < 0.2
    assert np.median(motion.trust[:, 90:120]) > 0.7


def test_another_scene_is_not_trusted():
    assert MotionFinder()(view(scene()), view(scene(1))).trust.mean() < 0.1


def test_many_channels_are_brought_along_as_one():
    maps = np.random.default_rng(0).normal(size=(*SIZE, 40)).astype(np.float32)
    columns, rows = places()
    motion = Motion(columns + 0.5, rows, np.ones(SIZE, np.float32))
    brought = motion.bring(maps)
    np.testing.assert_allclose(brought[:, :-1], (maps[:, :-1] + maps[:, 1:]) / 2, atol=1e-5)
    np.testing.assert_allclose(motion.bring(maps[..., 7]), brought[..., 7], atol=1e-5)


def test_motion_for_maps_of_twice_the_size():
    columns, rows = places()
    larger = Motion(columns + 1, rows - 2, np.ones(SIZE, np.float32)).resized((192, 256))
    assert larger.columns[100, 100] == pytest.approx(102)
    assert larger.rows[100, 100] == pytest.approx(96)


TURN, SHIFT = np.array([0.01, -0.02, 0.015]), np.array([0.02, -0.01, 0.06])


def seen_by(rays, turn, shift, depth):
    """The motion of points at ``depth`` when a camera has turned and moved."""
    points = np.stack([rays.x, rays.y, np.ones_like(rays.x)]) * depth
    moved = points + np.cross(turn, points, axis=0) + np.asarray(shift)[:, None, None]
    columns = rays.columns + rays.focal * (moved[0] / moved[2] - rays.x)
    rows = rays.rows + rays.focal * (moved[1] / moved[2] - rays.y)
    trust = np.ones(depth.shape, np.float32)
    return Motion(columns.astype(np.float32), rows.astype(np.float32), trust), moved[2]


@pytest.fixture
def depth():
    columns, rows = places()
    return (2 + columns / 60 + np.sin(rows / 9)).astype(np.float32)


def test_the_camera_s_motion_is_found_beside_a_thing_that_moves(depth):
    rays = Rays(SIZE, 60.0)
    motion, before = seen_by(rays, TURN, SHIFT, depth)
    motion.columns[20:50, 30:60] += 5
    found = rays.camera_motion(motion, 1 / depth)
    np.testing.assert_allclose(found.turn, TURN, atol=2e-3)
    np.testing.assert_allclose(found.shift, SHIFT, atol=5e-3)
    np.testing.assert_allclose(rays.depth_ratio(found, 1 / depth), before / depth, atol=3e-3)


def test_a_turn_to_the_right_turns_normals_as_poses_do(depth):
    """By the poses of a camera that turns to the right, a wall straight ahead looks to the right
    then.
    """
    rays = Rays(SIZE, 60.0)
    # Points of a camera that has turned right by 0.03 were more to the right: a turn about y, down.
    motion, _ = seen_by(rays, np.array([0, 0.03, 0]), np.zeros(3), depth)
    rotation = rays.camera_motion(motion, 1 / depth).rotation()
    np.testing.assert_allclose(rotation @ [0, 0, 1], [0.03, 0, 1], atol=2e-3)


def test_flow_that_no_camera_makes_is_none(depth):
    rays = Rays(SIZE, 60.0)
    motion, _ = seen_by(rays, np.zeros(3), np.zeros(3), depth)
    noise = np.random.default_rng(0).normal(0, 6, (2, *SIZE)).astype(np.float32)
    assert (
        rays.camera_motion(
            Motion(motion.columns + noise[0], motion.rows + noise[1], motion.trust), 1 / depth
        )
        is None
    )


def test_nothing_trusted_is_none(depth):
    rays = Rays(SIZE, 60.0)
    motion, _ = seen_by(rays, TURN, SHIFT, depth)
    found = rays.camera_motion(motion._replace(trust=np.zeros(SIZE, np.float32)), 1 / depth)
    assert found is None or np.isfinite([*found.turn, *found.shift]).all()
