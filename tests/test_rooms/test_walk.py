"""Walks through rooms: exact, repeatable, free of collisions."""

import cv2
import numpy as np
import pytest

from m2h_mm.geometry.pose import check_pose, invert_pose
from m2h_mm.rooms import Walk, WalkOptions, render_frame

SIZE = (48, 64)


@pytest.fixture(scope='module', params=['plain', 'varied'])
def style(request):
    return request.param


@pytest.fixture(scope='module')
def walk(style):
    return Walk(0, 2, *SIZE, style, WalkOptions(num_frames=6))


@pytest.fixture(scope='module')
def frames(walk):
    return list(walk)


def into_previous(previous, current) -> tuple[np.ndarray, ...]:
    """Where the previous frame shows what the current one shows, as maps of columns, rows and
    depth.
    """
    (fx, _, cx), (_, fy, cy) = current.cam2img[:2]
    rows, columns = np.indices(SIZE)
    depth = current.depth.astype(np.float64)
    points = np.stack([(columns - cx) / fx * depth, (rows - cy) / fy * depth, depth, depth**0], 2)
    x, y, z, _ = (invert_pose(previous.cam2world) @ current.cam2world @ points[..., None])[
        ..., 0
    ].transpose(2, 0, 1)
    return (fx * x / z + cx).astype(np.float32), (fy * y / z + cy).astype(np.float32), z


def residuals(previous, current) -> tuple[np.ndarray, np.ndarray]:
    """Relative change of depth, and whether the class flips, of the pixels whose surroundings are
    of one thing in both frames and that are seen in both.
    """
    columns, rows, z = into_previous(previous, current)
    inverse = cv2.remap(1 / previous.depth, columns, rows, cv2.INTER_LINEAR)
    classes = cv2.remap(previous.semseg, columns, rows, cv2.INTER_NEAREST)
    near_edge = [cv2.dilate(frame.edge, np.ones((5, 5))) for frame in (previous, current)]
    clear = (near_edge[1] == 0) & (
        cv2.remap(near_edge[0], columns, rows, cv2.INTER_NEAREST, borderValue=1) == 0
    )
    change = np.abs(inverse * z - 1)
    seen = clear & (change < 0.05)
    assert seen.mean() > 0.2
    return change[seen], (classes != current.semseg)[seen]


def test_true_maps_warp_into_each_other(frames):
    for previous, current in zip(frames, frames[1:], strict=False):
        change, flips = residuals(previous, current)
        assert change.mean() < 0.002 and not flips.any()


def test_wrong_poses_are_far_worse(frames):
    first, last = frames[0], frames[-1]
    change, _ = residuals(first, last)
    right = np.median(change)
    wrong = frames[-2]
    columns, rows, z = into_previous(wrong, last)
    inverse = cv2.remap(1 / first.depth, columns, rows, cv2.INTER_LINEAR, borderValue=np.nan)
    assert np.nanmedian(np.abs(inverse * z - 1)) > 20 * right


def test_frames_do_not_depend_on_what_was_rendered_before(walk, frames, style):
    again = Walk(0, 2, *SIZE, style, WalkOptions(num_frames=6)).frame(4)
    for name, value in vars(frames[4]).items():
        np.testing.assert_array_equal(value, getattr(again, name), err_msg=name)
    other = Walk(0, 3, *SIZE, style, WalkOptions(num_frames=6)).frame(4)
    assert (other.depth != again.depth).mean() > 0.5
    with pytest.raises(IndexError, match='has 6'):
        walk.frame(6)


def test_times_and_poses(walk, frames):
    assert [frame.timestamp for frame in frames] == [number / 15 for number in range(6)]
    poses = np.array([check_pose(frame.cam2world) for frame in frames])
    np.testing.assert_allclose(poses, [frame.cam2world for frame in frames], atol=1e-12)
    np.testing.assert_array_equal(frames[3].cam2world, walk.cam2world(3))
    # The world is z up: the camera stands in the room, its y axis points down.
    half = walk.room.size[:2] / 2
    assert (np.abs(poses[:, :2, 3]) < half).all() and (poses[:, 2, 1] < 0).all()
    assert (np.diff(poses[:, :3, 3], axis=0) != 0).all()


def test_the_room_is_that_of_the_single_frame(walk, style):
    single = render_frame(0, 2, *SIZE, style)
    assert single.cam2img.shape == walk.cam2img.shape
    assert set(np.unique(single.semseg)) <= set(walk.room.group.classes)


def test_the_camera_runs_into_nothing(style):
    for index in range(2):
        walk = Walk(1, index, 16, 16, style, WalkOptions(num_frames=90, speed=0.8))
        places = np.array([walk.cam2world(number)[:3, 3] for number in range(len(walk))])
        boxes = np.array(walk.room.solids + walk.room.loose)
        outside = np.maximum(boxes[:, 0] - places[:, None], places[:, None] - boxes[:, 1])
        assert np.linalg.norm(np.maximum(outside, 0), axis=2).min() > 0.15
        assert (walk.room.size[:2] / 2 - np.abs(places[:, :2])).min() > 0.15
        speed = np.linalg.norm(np.diff(places, axis=0), axis=1) * 15
        turns = np.array([walk.cam2world(number)[:3, 2] for number in range(len(walk))])
        angles = np.degrees(np.arccos((turns[1:] * turns[:-1]).sum(1))) * 15
        assert speed.max() < 1.6 and angles.max() < 110
