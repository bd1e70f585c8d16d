"""Fusion of frames in voxels."""

import numpy as np
import pytest
from mapped_room import furnished_room, look_around, map_room, see

from m2h_mm.mapping.fusion_kernels import _vote
from m2h_mm.mapping.volume import BLOCK_BYTES, Volume

CAM2IMG = np.array([[40.0, 0, 19.5], [0, 40, 14.5], [0, 0, 1]])
STILL = np.eye(4)


def wall(distance: float, slope: float = 0.0) -> np.ndarray:
    """(30, 40) depth of the plane z = distance + slope * x."""
    x = (np.arange(40) - 19.5) / 40
    return np.broadcast_to(distance / (1 - slope * x), (30, 40))


def distances(volume: Volume, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Metres, and weights."""
    known = volume.look_up(np.rint(points / volume.voxel))
    return known['distance'] * volume.truncation, known['weight']


@pytest.mark.parametrize('slope', [0.0, 1.0, -2.0])
def test_distances_are_those_to_the_plane(slope):
    """Also where it is seen slanted, between pixels: inverse depth is affine there."""
    volume = Volume(voxel=0.02)
    volume.fuse(wall(1.0, slope), CAM2IMG, STILL)
    xs, zs = np.meshgrid(np.arange(-5, 6) * 0.02, np.arange(30, 70) * 0.02)
    points = np.stack([xs, np.zeros_like(xs), zs], axis=-1).reshape(-1, 3)
    found, weight = distances(volume, points)
    true = (1.0 + slope * points[:, 0] - points[:, 2]) / np.hypot(1, slope)
    known = weight > 0
    assert known.sum() > 50 and (np.abs(true[known]) < 0.02).any()
    np.testing.assert_allclose(
        found[known], np.minimum(true[known], volume.truncation), atol=volume.truncation / 30000
    )


def test_far_hidden_and_unknown_places_stay_unknown():
    volume = Volume(voxel=0.02, far=2.0)
    depth = wall(1.0).copy()
    depth[:, :10], depth[:, 10:20] = np.nan, 0
    depth[:, 30:] = np.inf
    volume.fuse(depth, CAM2IMG, STILL)
    assert {0.98, 1.0} <= set(np.round(volume.places[:, 2] * 0.16 + 0.04, 2)) or volume.count
    x = np.array([(column - 19.5) / 40 for column in (5, 15, 25, 35)])
    points = np.stack([x, np.zeros(4), np.ones(4)], axis=1)
    assert (distances(volume, points)[1] > 0).tolist() == [False, False, True, False]
    behind = points + (0, 0, 0.08)
    assert (distances(volume, behind)[1] == 0).all()
    before = volume.count
    volume.fuse(wall(3.0), CAM2IMG, STILL)
    assert volume.count == before


def test_the_mean_of_frames_and_what_is_free_again():
    volume = Volume(voxel=0.02)
    at = np.array([[0.0, 0.0, 1.0]])
    for offset in (-0.02, 0.02):
        volume.fuse(wall(1 + offset), CAM2IMG, STILL)
    assert abs(distances(volume, at)[0][0]) < 2e-3
    for _ in range(20):
        volume.fuse(wall(1.5), CAM2IMG, STILL)
    assert distances(volume, at)[0][0] > 0.8 * volume.truncation
    forgetful = Volume(voxel=0.02, max_weight=1)
    for depth in (1.0,) * 20 + (1.5,) * 6:
        forgetful.fuse(wall(depth), CAM2IMG, STILL)
    assert distances(forgetful, at)[0][0] > 0.8 * forgetful.truncation


def test_moving_the_world_moves_the_map():
    """A pose of whole voxels, turned by a right angle: the same numbers elsewhere."""
    pose = np.array([[0, -1.0, 0, 0.4], [1, 0, 0, -0.2], [0, 0, 1, 0.06], [0, 0, 0, 1]])
    rng = np.random.default_rng(0)
    frame = dict(
        depth=wall(1.0, 0.3),
        cam2img=CAM2IMG,
        colours=rng.integers(0, 256, (30, 40, 3), dtype=np.uint8),
        classes=rng.integers(0, 5, (30, 40), dtype=np.uint8),
    )
    still, moved = Volume(voxel=0.02), Volume(voxel=0.02)
    still.fuse(cam2world=STILL, **frame)
    moved.fuse(cam2world=pose, **frame)
    points = np.stack(np.meshgrid(*[np.arange(-8, 8) * 0.02] * 2, [0.96, 0.98, 1.0, 1.02]), -1)
    points = points.reshape(-1, 3)
    first = still.look_up(np.rint(points / 0.02))
    second = moved.look_up(np.rint((points @ pose[:3, :3].T + pose[:3, 3]) / 0.02))
    known = (first['weight'] > 0) & (second['weight'] > 0)
    assert known.mean() > 0.9
    np.testing.assert_allclose(first['distance'][known], second['distance'][known], atol=1e-4)
    # A pixel that is exactly between two may round to either.
    assert (first['classes'][known, 0] == second['classes'][known, 0]).mean() > 0.95


def test_classes_are_voted_for_by_their_probabilities():
    volume = Volume(voxel=0.02)
    classes = np.stack([np.full((30, 40), number, np.uint8) for number in (3, 7)])
    shares = np.stack([np.full((30, 40), share, np.float32) for share in (0.75, 0.25)])
    volume.fuse(wall(1.0), CAM2IMG, STILL, classes=classes, probabilities=shares)
    known = volume.look_up(np.array([[0, 0, 50]]))
    assert known['classes'].tolist() == [[3, 7, 255]]
    np.testing.assert_allclose(known['shares'], [[0.75, 0.25, 0]])
    for _ in range(3):
        volume.fuse(wall(1.0), CAM2IMG, STILL, classes=classes[1])
    assert volume.look_up(np.array([[0, 0, 50]]))['classes'][0, 0] == 7
    nothing = Volume(voxel=0.02)
    nothing.fuse(wall(1.0), CAM2IMG, STILL, classes=np.full((30, 40), 255, np.uint8))
    assert nothing.look_up(np.array([[0, 0, 50]]))['classes'].tolist() == [[255] * 3]


def test_a_class_with_more_than_a_quarter_of_the_votes_is_kept():
    rng = np.random.default_rng(0)
    for _ in range(20):
        ids, evidence = np.zeros(3, np.uint8), np.zeros(3, np.uint16)
        votes = np.concatenate([np.full(26, 9), rng.integers(10, 40, 74)])
        for vote in rng.permutation(votes):
            _vote(ids, evidence, vote, 32)
        assert 9 in ids[evidence > 0]
    for _ in range(5000):  # beyond what 16 bits hold
        _vote(ids, evidence, 9, 32)
    assert ids[evidence.argmax()] == 9 and evidence.max() > 30000


def test_memory_is_bounded_and_what_does_not_fit_is_counted():
    group, cameras = furnished_room(), look_around(4)
    whole = map_room(group, cameras)
    assert whole.refused == 0 and whole.memory == whole.count * BLOCK_BYTES / 2**20
    small = map_room(group, cameras, memory=1)
    assert small.count == small.capacity == int(2**20 / BLOCK_BYTES) < whole.count
    assert small.refused > 0 and small.frames == 4


def test_frames_that_cannot_be_are_refused():
    frame = see(furnished_room(), look_around(1)[0])
    volume = Volume()
    scaled = frame['cam2world'] * [[2], [2], [2], [1]]
    mirrored = frame['cam2world'] * [[1], [1], [-1], [1]]
    for name, value, message in (
        ('depth', np.zeros((3, 4, 5)), 'depth: expected'),
        ('cam2img', np.eye(4), r'cam2img: expected \(3, 3\)'),
        ('cam2img', np.diag([0.0, 1, 1]), 'camera'),
        ('cam2world', scaled, 'expected a rotation'),
        ('cam2world', mirrored, 'expected a rotation'),
        ('cam2world', np.full((4, 4), -np.inf), 'cam2world: expected a pose of finite'),
        ('cam2world', np.eye(4) + np.eye(4, k=3) * 5e6, 'Move the origin'),
        ('colours', np.zeros((3, 4, 3), np.uint8), 'colours: expected'),
        ('colours', np.zeros((60, 80, 3)), 'colours: expected'),
        ('classes', np.zeros((3, 4), np.uint8), 'classes: expected'),
        ('classes', np.full((60, 80), 300), 'classes: expected numbers'),
        ('probabilities', np.full((60, 80), 7.0), 'probabilities: expected'),
    ):
        with pytest.raises(ValueError, match=message):
            volume.fuse(**{**frame, name: value})
    assert volume.frames == volume.count == 0
    for settings in (dict(voxel=0), dict(truncation=0.01), dict(far=np.nan), dict(memory=0)):
        with pytest.raises(ValueError, match=f'{next(iter(settings))}: expected'):
            Volume(**settings)
