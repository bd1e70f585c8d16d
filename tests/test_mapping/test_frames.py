"""Frames from recordings, walks and photos, with their poses."""

import json

import cv2
import numpy as np
import pytest

from m2h_mm.geometry.pose import pose_from_quaternion
from m2h_mm.mapping.frames import Frames
from m2h_mm.mapping.trajectory import read_trajectory

SIZE = (12, 16)
QUATERNIONS = ((0, 0, 0, 1), (0, 0.6, 0, 0.8), (0.6, 0, 0, 0.8))
ROWS = [[0.5 * number, 1.5, 0.25, *turn] for number, turn in enumerate(QUATERNIONS)]
POSES = [pose_from_quaternion(row[:3], row[3:]) for row in ROWS]
LOST = '\n'.join(['-inf -inf -inf -inf'] * 4)


def text(rows) -> str:
    return '\n'.join(' '.join(f'{value:.9g}' for value in row) for row in rows)


def picture(path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*SIZE, 3), 40 * (number + 1), np.uint8))


@pytest.fixture
def photos(tmp_path):
    for number in range(3):
        picture(tmp_path / 'photos' / f'{10 + number / 4}.png', number)
    return tmp_path / 'photos'


@pytest.mark.parametrize('kind', ['folder', 'tum', 'tum in order', 'rows of 12', 'rows of 16'])
def test_poses_of_photos(photos, tmp_path, kind):
    path = tmp_path / 'poses'
    if kind == 'folder':
        path.mkdir()
        for file, pose in zip(sorted(photos.iterdir()), POSES, strict=True):
            (path / f'{file.stem}.txt').write_text(text(pose))
    elif kind == 'tum':
        # Nearest in time, not in order, and one that nobody needs.
        rows = [[10 + number / 4 + 0.01, *row] for number, row in enumerate(ROWS)]
        path.write_text('# time tx ty tz qx qy qz qw\n' + text([[3, *ROWS[0]], *rows[::-1]]))
    elif kind == 'tum in order':
        for number, file in enumerate(sorted(photos.iterdir())):
            file.rename(photos / f'view_{number}.png')
        path.write_text(text([[number, *row] for number, row in enumerate(ROWS)]))
    else:
        length = int(kind[-2:])
        path.write_text(text(pose.reshape(-1)[:length] for pose in POSES))
    frames = Frames(photos, path, camera=(14.0, 15.0, 7.0, 6.0))
    assert (len(frames), frames.lost, frames.layout, frames.guessed) == (3, 0, 'photos', False)
    for number, frame in enumerate(frames):
        np.testing.assert_allclose(frame.cam2world, POSES[number], atol=1e-7)
        assert frame.image.shape == (*SIZE, 3) and (frame.image == 40 * (number + 1)).all()
        np.testing.assert_array_equal(frame.cam2img, [[14, 0, 7], [0, 15, 6], [0, 0, 1]])
        assert frame.depth is None and frame.classes is None


def test_photos_without_a_pose_are_left_out_and_counted(photos, tmp_path):
    rows = [[10, *ROWS[0]], [10.5, *ROWS[2]]]
    (tmp_path / 'poses.txt').write_text(text(rows))
    frames = Frames(photos, tmp_path / 'poses.txt', camera=60.0)
    assert (len(frames), frames.lost) == (2, 1)
    assert [frame.timestamp for frame in frames] == [10, 10.5]
    assert next(iter(frames)).cam2img[0, 0] == pytest.approx(8 / np.tan(np.radians(30)))
    assert Frames(photos, tmp_path / 'poses.txt').guessed


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('1 2 3\n', r'got lines of \[3\] numbers'),
        ('a b c\n', 'expected a folder of'),
        (text([[*row, 0, 0, 0, 0, 0] for row in ROWS]), 'line 1: expected'),
        (text(pose.reshape(-1) for pose in POSES[:2]), 'a pose for each of 3 photos in order'),
        (text([0, 0, 0, 0, 0, 0, 0, 7] for _ in ROWS), 'quaternion of length 1'),
        (text([[1, *row] for row in ROWS]), 'none of 3 frames has a pose'),
    ],
)
def test_wrong_poses_are_refused(photos, tmp_path, content, message):
    (tmp_path / 'poses.txt').write_text(content)
    with pytest.raises(ValueError, match=message):
        Frames(photos, tmp_path / 'poses.txt')


def test_what_is_not_there_is_said(photos, tmp_path):
    with pytest.raises(FileNotFoundError, match='photos need --poses'):
        Frames(photos)
    with pytest.raises(FileNotFoundError, match='no folder'):
        Frames(tmp_path / 'lost')
    with pytest.raises(FileNotFoundError, match='no file or folder'):
        Frames(photos, tmp_path / 'lost')
    (tmp_path / 'poses').mkdir()
    with pytest.raises(ValueError, match=r'no 10\.0\.txt or the like'):
        read_trajectory(tmp_path / 'poses', ['10.0'])


@pytest.fixture
def scannet(tmp_path):
    folder = tmp_path / 'scene0000_00'
    for number, pose in enumerate(POSES):
        picture(folder / f'color/{number}.jpg', number)
        (folder / 'depth').mkdir(exist_ok=True)
        depth = np.full(SIZE, 1500 + 500 * number, np.uint16)
        depth[0, 0] = 0
        cv2.imwrite(str(folder / f'depth/{number}.png'), depth)
        (folder / 'pose').mkdir(exist_ok=True)
        (folder / f'pose/{number}.txt').write_text(LOST if number == 1 else text(pose))
    (folder / 'intrinsic').mkdir()
    (folder / 'intrinsic/intrinsic_depth.txt').write_text(text(np.diag([20.0, 21, 1, 1])))
    return folder


def test_a_recording_has_depth_and_poses_of_its_own(scannet):
    frames = Frames(scannet)
    assert (frames.layout, len(frames), frames.lost, list(frames.names)) == ('scannet', 2, 1, [])
    first, last = frames
    np.testing.assert_allclose(last.cam2world, POSES[2], atol=1e-7)
    assert last.depth.shape == SIZE and last.depth[0, 0] == 0
    assert last.depth[5, 5] == pytest.approx(2.5) and first.depth[5, 5] == pytest.approx(1.5)
    assert first.cam2img[0, 0] == 20 and first.classes is None
    assert len(Frames(scannet, every=2)) == 1
    with pytest.raises(ValueError, match='--fov'):
        Frames(scannet, camera=60.0)
    with pytest.raises(ValueError, match='--poses'):
        Frames(scannet, scannet / 'pose', layout='scannet')
    assert Frames(scannet / 'color', scannet / 'pose', camera=60.0).lost == 1


def test_walks_have_classes_too(tmp_path):
    ids = [f'{walk}/{number}' for walk in 'ab' for number in range(2)]
    poses, cameras = {}, {}
    for index, name in enumerate(ids):
        picture(tmp_path / 'images' / f'{name}.png', index)
        for folder, value in (('depth', 1000 + index), ('segmentation', 3)):
            path = tmp_path / folder / f'{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.full(SIZE, value, np.uint16 if folder == 'depth' else np.uint8)
            values[0, 0] = 0
            cv2.imwrite(str(path), values)
        poses[name] = dict(timestamp=index / 10, cam2world=POSES[0].tolist())
        cameras[name] = [20, 20, 8, 6]
    (tmp_path / 'poses.json').write_text(json.dumps(poses))
    (tmp_path / 'cameras.json').write_text(json.dumps(cameras))
    (tmp_path / 'gt_sets').mkdir()
    (tmp_path / 'gt_sets/val.txt').write_text('\n'.join(ids))
    with pytest.raises(ValueError, match='--sequence: expected one of a, b; got None'):
        Frames(tmp_path)
    frames = Frames(tmp_path, sequence='b')
    assert (frames.layout, len(frames), frames.names[2]) == ('nyud-mt', 2, 'cabinet')
    frame = next(iter(frames))
    assert frame.depth[3, 3] == pytest.approx(1.002) and frame.depth[0, 0] == 0
    assert frame.classes[3, 3] == 2 and frame.classes[0, 0] == 255
    assert frame.timestamp == 0.2
