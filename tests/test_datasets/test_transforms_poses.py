"""Poses follow the transforms: what warps into what stays the same, to the last digits."""

import numpy as np
import pytest
import torch

from m2h_mm.geometry.pose import check_pose, pose_from_quaternion
from m2h_mm.geometry.warp import Warp
from m2h_mm.registry import TRANSFORMS
from m2h_mm.structures import Label
from m2h_mm.tasks import build_tasks

SIZE, DEPTH = (24, 32), 2.0
CAMERA = np.array([[30.0, 0, 17], [0, 28, 10.5], [0, 0, 1]])
TURNS = np.array([[0.1, 0.2, -0.1, 0.97], [0.12, 0.17, -0.1, 0.97]])
TURNS /= np.linalg.norm(TURNS, axis=1, keepdims=True)
POSES = (
    pose_from_quaternion([0.3, -0.2, 1.4], TURNS[0]),
    pose_from_quaternion([0.4, -0.25, 1.45], TURNS[1]),
)


def frame(pose: np.ndarray) -> dict:
    """A frame that sees a wall at one depth everywhere."""
    depth = np.full(SIZE, DEPTH, np.float32)
    classes = np.arange(np.prod(SIZE), dtype=np.uint8).reshape(SIZE) % 3
    return dict(
        img=np.zeros((*SIZE, 3), np.uint8),
        img_path='frame.png',
        tasks=build_tasks(['semseg', 'depth']),
        gt_depth=Label(depth, depth > 0),
        gt_semseg=Label(classes, classes < 3),
        cam2img=CAMERA,
        cam2world=pose,
        sequence='one',
    )


def positions(current: dict, previous: dict) -> np.ndarray:
    """(2, H, W) where the previous frame shows what the pixels of the current one show; NaN
    outside.
    """
    warp = Warp(
        torch.as_tensor(current['gt_depth'].value)[None, None].double(),
        *(torch.as_tensor(value)[None] for value in (current['cam2img'], previous['cam2world'])),
        torch.as_tensor(current['cam2world'])[None],
    )
    return torch.where(warp.inside, warp.position, torch.nan)[0].numpy()


def transformed(steps: list[dict], seed: int) -> list[dict]:
    frames = []
    for pose in POSES:
        results = {**frame(pose), 'rng': np.random.default_rng(seed)}
        for step in steps:
            results = TRANSFORMS.build(step).transform(results)
        frames.append(results)
    return frames


ZOOM = dict(type='RandomZoom', scale_range=(1.25, 1.25))
CROP = dict(type='RandomCrop', size=(16, 20))
FLIP = dict(type='RandomFlip', prob=1.0)
RESIZE = dict(type='Resize', size=(36, 64))


@pytest.mark.parametrize(
    'steps',
    [
        [FLIP],
        [ZOOM],
        [CROP],
        [RESIZE],
        [ZOOM, CROP, FLIP],
        [FLIP, CROP, RESIZE, ZOOM, FLIP],
    ],
    ids=lambda steps: '-'.join(step['type'] for step in steps),
)
def test_pixels_correspond_as_before(steps):
    previous, current = (frame(pose) for pose in POSES)
    after = transformed(steps, seed=3)
    for results in after:
        check_pose(results['cam2world'])
    # Where a pixel of the frame after the transforms was before them follows from the intrinsics,
    # and from a mirror of the columns where it was flipped.
    flips = sum(step['type'] == 'RandomFlip' for step in steps) % 2
    sign = -1 if flips else 1
    new = after[1]['cam2img']
    rows, columns = np.indices(after[1]['img'].shape[:2]).astype(np.float64)
    u = (columns - new[0, 2]) / new[0, 0] * sign * CAMERA[0, 0] + CAMERA[0, 2]
    v = (rows - new[1, 2]) / new[1, 1] * CAMERA[1, 1] + CAMERA[1, 2]
    points = np.stack([(u - CAMERA[0, 2]) / CAMERA[0, 0], (v - CAMERA[1, 2]) / CAMERA[1, 1], u**0])
    world = POSES[1][:3, :3] @ (points * DEPTH).reshape(3, -1) + POSES[1][:3, 3:]
    seen = POSES[0][:3, :3].T @ (world - POSES[0][:3, 3:])
    x = (seen[0] / seen[2] * sign * new[0, 0] + new[0, 2]).reshape(u.shape)
    y = (seen[1] / seen[2] * new[1, 1] + new[1, 2]).reshape(u.shape)
    found = positions(after[1], after[0])
    inside = ~np.isnan(found[0])
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found[0][inside], x[inside], atol=1e-5)
    np.testing.assert_allclose(found[1][inside], y[inside], atol=1e-5)
    # The formula above is that of the frames as they were, too.
    before = positions(current, previous)
    assert np.nanmax(np.abs(before)) > 3


def test_frames_of_a_sequence_take_one_window_whatever_is_in_them():
    crop = TRANSFORMS.build(dict(CROP, cat_max_ratio=0.4))
    windows = []
    for classes in (0, 1):
        results = {**frame(POSES[0]), 'rng': np.random.default_rng(5)}
        if classes:
            results['gt_semseg'] = Label(np.zeros(SIZE, np.uint8), np.ones(SIZE, bool))
        results = crop.transform(results)
        windows.append((results['cam2img'].tolist(), results['rng'].random()))
    assert windows[0] == windows[1]


def test_a_frame_without_a_pose_stays_without():
    results = {**frame(POSES[0]), 'rng': np.random.default_rng(5)}
    del results['cam2world']
    for step in (ZOOM, FLIP):
        results = TRANSFORMS.build(step).transform(results)
    assert 'cam2world' not in results
