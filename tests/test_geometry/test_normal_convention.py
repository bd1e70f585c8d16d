"""Which axes the channels of a normal map hold."""

import itertools

import numpy as np
import pytest

from m2h_mm.geometry.normal_convention import (
    CONVENTIONS,
    MIN_VECTORS,
    OURS,
    all_axes,
    compare_conventions,
    paired_normals,
    parse_axes,
    to_ours,
)
from m2h_mm.tasks import Normals

KINECT = (518.8579, 519.4696, 325.5824, 253.7362)


def spoil(vectors: np.ndarray, axes: str) -> np.ndarray:
    """Our vectors as a file in another convention holds them, channel by channel."""
    columns = {'x': vectors[..., 0], 'y': vectors[..., 1], 'z': vectors[..., 2]}
    return np.stack(
        [-columns[axis[1]] if axis[0] == '-' else columns[axis] for axis in axes.split(',')],
        axis=-1,
    )


@pytest.fixture(scope='module')
def pairs(nyud_sample):
    """Stored normals and those of the depth, of the real frame."""
    return paired_normals(
        np.load(nyud_sample / 'depth' / '000433.npy'),
        Normals().read(nyud_sample / 'normals' / '000433.png').value,
        KINECT,
    )


def test_the_48_conventions_are_all_signed_permutations():
    vector = np.array([1.0, 2.0, 3.0])
    made = {tuple(spoil(vector, axes)) for axes in all_axes()}
    assert made == {
        tuple(sign * number for sign, number in zip(signs, numbers, strict=True))
        for numbers in itertools.permutations(vector)
        for signs in itertools.product((1, -1), repeat=3)
    }
    assert len(all_axes()) == 48 and all_axes()[0] == OURS


@pytest.mark.parametrize('axes', all_axes())
def test_to_ours_undoes_each(axes):
    vectors = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    restored = to_ours(spoil(vectors, axes), axes)
    np.testing.assert_array_equal(restored, vectors)
    assert restored.dtype == np.float32


def test_the_real_frame_is_in_our_convention(pairs):
    agreement = compare_conventions(*pairs)
    best, second = list(agreement.medians.values())[:2]
    assert agreement.best == OURS and not agreement.is_clearly_other
    assert best < 20 < second and agreement.vectors > 300


def test_all_others_are_found_in_the_real_frame(pairs):
    stored, derived = pairs
    for axes in all_axes()[1:]:
        agreement = compare_conventions(spoil(stored, axes), derived)
        assert agreement.best == axes and agreement.is_clearly_other


def test_pairs_come_from_the_same_places():
    """Two walls that meet in the middle, and labels of the left one alone."""
    v, u = np.mgrid[:120, :160]
    camera = (150.0, 150.0, 80.0, 60.0)
    left, right = np.array([0.6, 0, 0.8]), np.array([-0.6, 0, 0.8])
    rays = np.stack([(u - 80) / 150, -(v - 60) / 150, -np.ones(u.shape)], axis=-1)
    is_left = u < 80
    depth = np.where(is_left, -2 / (rays @ left), -2 / (rays @ right))
    normals = np.where(is_left[..., None], left, 0)
    stored, derived = paired_normals(depth, normals, camera)
    assert len(stored) == 11 * 7
    np.testing.assert_allclose(derived, stored, atol=1e-4)
    big = [np.kron(map, np.ones((4, 4))) for map in (depth, *normals.transpose(2, 0, 1))]
    stored, derived = paired_normals(
        big[0], np.stack(big[1:], axis=2), [4 * number for number in camera]
    )
    assert (derived[:, 0] > 0).all() and len(
        stored
    ) == 22 * 15  # a frame of 480 rows is seen at 240


def random_unit(count, rng):
    vectors = rng.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize('seed', range(20))
def test_labels_that_say_nothing_are_not_refused(seed):
    rng = np.random.default_rng(seed)
    scene = np.array([0, 1.0, 0]) + 0.4 * random_unit(MIN_VECTORS, rng)
    scene /= np.linalg.norm(scene, axis=1, keepdims=True)
    wall = np.broadcast_to([0, 0, 1.0], scene.shape)
    assert not compare_conventions(random_unit(MIN_VECTORS, rng), scene).is_clearly_other
    assert not compare_conventions(random_unit(MIN_VECTORS, rng), wall).is_clearly_other
    assert not compare_conventions(wall, wall).is_clearly_other
    noisy_wall = wall + 0.1 * rng.normal(size=wall.shape)
    noisy_wall /= np.linalg.norm(noisy_wall, axis=1, keepdims=True)
    assert not compare_conventions(noisy_wall, wall).is_clearly_other


def test_few_vectors_say_nothing():
    floor, wall = (
        np.broadcast_to(vector, (MIN_VECTORS - 1, 3)) for vector in ([0, 1.0, 0], [0, 0, 1.0])
    )
    assert not compare_conventions(floor, wall).is_clearly_other
    enough = [np.concatenate([vectors, vectors[:1]]) for vectors in (floor, wall)]
    assert compare_conventions(*enough).is_clearly_other


def test_conventions_by_name_or_axes():
    assert parse_axes('ladicky') == CONVENTIONS['ladicky'] == '-z,-y,x'
    assert parse_axes('-x,z,y') == '-x,z,y'
    for text in ('x,y', 'x,x,z', 'opengl', '+x,y,z', ''):
        with pytest.raises(ValueError, match='nyud-mt.*x,-z,y'):
            parse_axes(text)
