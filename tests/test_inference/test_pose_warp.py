"""The pose-warp filter of M2H-MX's authors, against numbers of their code, and its own promises."""

import numpy as np
import pytest

from m2h_mm.inference.pose_warp import PoseQuality, PoseWarpFilter, splat

DYNAMIC, IGNORED = (7,), (6,)
SILENT = dict(dynamic_labels=DYNAMIC, ignored_labels=IGNORED)


@pytest.fixture(scope='module')
def vectors(reference):
    with np.load(reference / 'm2h_mx' / 'pose_warp_filter.npz', allow_pickle=False) as file:
        return dict(file)


def rotation(quaternion):
    x, y, z, w = np.asarray(quaternion, float) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def move(vectors, i):
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(vectors[f'input/frame{i}_quaternion_xyzw'])
    matrix[:3, 3] = vectors[f'input/frame{i}_translation']
    return matrix


def camera(vectors):
    fx, fy, cx, cy = vectors['input/intrinsics_fx_fy_cx_cy']
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def unstored(depth):
    """The numbers that stand for NaN and infinity in the file."""
    return np.where(depth == -7, np.nan, np.where(depth == -1, np.inf, depth))


def run(vectors, frames=3, **settings):
    filter = PoseWarpFilter(**SILENT | settings)
    # What is stored is given: the frames themselves, not what the filter would make of them.
    filter.keep_fused = False
    for i in range(frames):
        depth, labels = (vectors[f'input/frame{i}_{name}'] for name in ('depth', 'labels'))
        quality = float(vectors[f'input/frame{i}_quality'])
        filter(unstored(depth), labels, camera(vectors), move(vectors, i), 0.0, quality)
    depth, labels = vectors['input/current_depth'], vectors['input/current_labels']
    return filter(unstored(depth), labels, camera(vectors), np.eye(4), 0.1)


@pytest.mark.parametrize('i', range(3))
def test_warped_frames(vectors, i):
    depth, labels = unstored(vectors[f'input/frame{i}_depth']), vectors[f'input/frame{i}_labels']
    found, seen = splat(depth, labels, camera(vectors), move(vectors, i), (0.05, 10.0))
    expected = vectors[f'output/frame{i}_warped_depth']
    assert np.array_equal(np.isfinite(found), vectors[f'output/frame{i}_valid'] > 0)
    finite = np.isfinite(found)
    np.testing.assert_allclose(found[finite], expected[finite], rtol=1e-5, atol=1e-5)
    assert np.array_equal(seen, vectors[f'output/frame{i}_warped_labels'])
    counts = PoseWarpFilter().agree(found, unstored(vectors['input/current_depth']))
    # The authors' mask is also set where a frame has no depth and nothing was warped to.
    assert np.array_equal(counts, finite & (vectors[f'output/frame{i}_consistent'] > 0))


@pytest.mark.parametrize('fusion', ['median', 'ema'])
def test_depth(vectors, fusion):
    found = run(vectors, fusion=fusion).depth
    expected = unstored(vectors[f'output/depth_{fusion}'])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)


def test_depth_of_the_first_frame_passes_through(vectors):
    expected = unstored(vectors['output/depth_no_history'])
    np.testing.assert_array_equal(run(vectors, frames=0).depth, expected)


@pytest.mark.parametrize(
    'output, settings',
    [
        ('labels', {}),
        ('labels_min_votes_1', dict(min_votes=1)),
        ('labels_no_lists', dict(dynamic_labels=(), ignored_labels=())),
    ],
)
def test_labels(vectors, output, settings):
    assert np.array_equal(run(vectors, **settings).labels, vectors[f'output/{output}'])


def test_quality_of_poses(vectors):
    quality = PoseQuality()
    values = [
        quality.update(*message)
        for message in zip(
            vectors['input/odom_time'],
            vectors['input/odom_linear'],
            vectors['input/odom_angular'],
            strict=True,
        )
    ]
    np.testing.assert_allclose(values, vectors['output/pose_quality'], rtol=1e-5)


CAMERA = np.array([[8.0, 0, 3.5], [0, 8.0, 2.5], [0, 0, 1]])


def flat(depth=2.0, label=1):
    return np.full((6, 8), depth, np.float32), np.full((6, 8), label, np.uint8)


def test_history_is_dropped_by_age_size_and_quality():
    def after(filter, *, wait=0.1, quality=1.0, size=(6, 8)):
        filter(*flat(2.0), CAMERA, np.eye(4), 0.0, quality)
        return filter(*(map[: size[0]] for map in flat(2.1)), CAMERA, np.eye(4), wait).depth[0, 0]

    assert after(PoseWarpFilter()) == pytest.approx(2.05)
    assert after(PoseWarpFilter(), wait=0.6) == pytest.approx(2.1)
    assert after(PoseWarpFilter(), wait=-9) == pytest.approx(2.1)
    assert after(PoseWarpFilter(), size=(5, 8)) == pytest.approx(2.1)
    assert after(PoseWarpFilter(skip_quality=0.3), quality=0.2) == pytest.approx(2.1)
    filter = PoseWarpFilter()
    after(filter)
    filter.reset()
    assert filter(*flat(2.2), CAMERA, np.eye(4), 0.2).depth[0, 0] == pytest.approx(2.2)


def test_what_moved_leaves_no_trail():
    filter = PoseWarpFilter(min_votes=1.5)
    for time in range(3):
        depth, labels = flat()
        depth[:, 2 * time], labels[:, 2 * time] = 1.0, 5
        found = filter(depth, labels, CAMERA, np.eye(4), 0.1 * time)
        np.testing.assert_allclose(found.depth, depth)
        assert np.array_equal(found.labels, labels)


def test_wrong_settings():
    with pytest.raises(ValueError, match='median'):
        PoseWarpFilter(fusion='mean')
    with pytest.raises(ValueError, match='history_size'):
        PoseWarpFilter(history_size=0)
    with pytest.raises(ValueError, match='labels'):
        PoseWarpFilter()(flat()[0], flat()[1][:3], CAMERA, np.eye(4), 0.0)
