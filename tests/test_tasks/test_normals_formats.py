"""How files of normals are read, and what of them is doubted or refused."""

import re

import cv2
import numpy as np
import pytest

from m2h_mm.geometry.normal_convention import all_axes, compose, to_ours
from m2h_mm.tasks import Normals


def seen(size=(24, 32), seed=0):
    """Unit vectors that a camera can see."""
    vectors = np.random.default_rng(seed).normal(size=(*size, 3))
    vectors[..., 2] = np.abs(vectors[..., 2])
    return (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)


VECTORS = seen()
HALF = (VECTORS + 1) / 2


def save(tmp_path, stored):
    """A ``.png`` of 8 or 16 bits, else a ``.npy``."""
    if stored.dtype in (np.uint8, np.uint16):
        cv2.imwrite(str(tmp_path / 'n.png'), stored[..., ::-1])
        return tmp_path / 'n.png'
    np.save(tmp_path / 'n.npy', stored)
    return tmp_path / 'n.npy'


def doubts(task, path):
    return [doubt for doubt in task.inspect(path, task.read(path)) if doubt.pixels.any()]


ENCODED = [
    (None, VECTORS),
    (None, VECTORS.astype(np.float16)),
    (None, np.rint(HALF * 255).astype(np.uint8)),
    (None, np.rint(HALF * 65535).astype(np.uint16)),
    ([0, 1], HALF),
    ([0, 255], np.rint(HALF * 255).astype(np.int64)),
    ([0, 255], HALF * 255),
    ([0, 255], np.rint(HALF * 255).astype(np.uint16)),
    ([-32767, 32767], np.rint(VECTORS * 32767).astype(np.int16)),
    ([-127, 127], np.rint(VECTORS * 127).astype(np.int8)),
]


@pytest.mark.parametrize(('limits', 'stored'), ENCODED)
def test_normals_in_any_range(tmp_path, limits, stored):
    path = save(tmp_path, stored)
    task = Normals() if limits is None else Normals().with_format(range=limits)
    for found in (task.read(path).value, task.read_prediction(path)):
        np.testing.assert_allclose(found, VECTORS, atol=0.01)
    assert not doubts(task, path) and task.read(path).valid.all()
    assert '(-0.02, -0.02, 0.51)' in task.explain([path], [task.read(path)])


@pytest.mark.parametrize(('limits', 'stored'), [item for item in ENCODED if item[0]])
def test_a_range_that_is_not_stated_is_refused_with_the_one_that_fits(tmp_path, limits, stored):
    path = save(tmp_path, stored)
    if stored.dtype.kind == 'i':
        message = re.escape(f'label_formats.normals.range={limits}')
        for read in (Normals().read, Normals().read_prediction):
            with pytest.raises(ValueError, match=rf'n\.npy .*{message}'):
                read(path)
        return
    (doubt,) = [doubt for doubt in doubts(Normals(), path) if doubt.certain]
    assert doubt.advice == f'Say so: label_formats.normals.range={limits}.'
    with pytest.raises(ValueError, match=r'n\.(npy|png) .*--prediction-format normals.range='):
        Normals().for_predictions().read_prediction(path)


@pytest.mark.parametrize('noise', [0, 0.05])
def test_what_a_network_says_from_0_to_1_is_recognised(tmp_path, noise):
    rough = VECTORS * np.random.default_rng(1).normal(1, noise, (24, 32, 1))
    path = save(tmp_path, np.clip((rough + 1) / 2, 0, 1))
    assert any(doubt.certain for doubt in doubts(Normals(), path))


def one_direction(x, y, z):
    return np.broadcast_to(np.float32([x, y, z]), (24, 32, 3)).copy()


@pytest.mark.parametrize(
    'stored',
    [
        one_direction(0, 1, 0),  # a floor: no component is negative
        one_direction(0, 0, 1),
        np.where(VECTORS[..., :1] > 0, VECTORS, 0),
        np.where(VECTORS[..., :1] > 0, VECTORS, np.nan),
        np.where(np.arange(32)[:, None] > 2, VECTORS, 0.7 * VECTORS),  # what a resize leaves
    ],
)
def test_normals_that_are_not_doubted(tmp_path, stored):
    assert not doubts(Normals(), save(tmp_path, stored))


@pytest.mark.parametrize(
    ('stored', 'words'),
    [
        (VECTORS * 0.7, 'not unit vectors'),
        (VECTORS * [1, 1, -1], 'most point away'),
        (VECTORS * 0, 'no valid pixel'),
    ],
)
def test_normals_that_are_doubted(tmp_path, stored, words):
    (doubt,) = doubts(Normals(), save(tmp_path, stored))
    assert words in doubt.what and not doubt.certain


def test_grey_black_and_what_is_stated_are_missing(tmp_path):
    stored = np.rint(HALF * 255).astype(np.uint8)
    stored[0, 0], stored[0, 1], stored[0, 2:8] = 0, 128, 255
    path = save(tmp_path, stored)
    assert Normals().read(path).valid[0, :4].tolist() == [False, False, True, True]
    told = Normals().with_format(invalid=255)
    assert told.read(path).valid.sum() == 24 * 32 - 8 and not doubts(told, path)
    half = np.where(np.arange(32)[:, None] < 9, np.float32(0.5), HALF)
    assert not Normals().with_format(range=[0, 1]).read(save(tmp_path, half)).valid[:, :9].any()


@pytest.mark.parametrize('axes', ['x,-y,-z', 'z,y,x', '-z,-y,x', 'y,-z,-x'])
def test_a_convention_that_is_stated(tmp_path, axes):
    matrix = to_ours(np.eye(3), axes)
    path = save(tmp_path, VECTORS @ matrix.T)
    read = Normals().with_format(convention=axes).read(path)
    np.testing.assert_allclose(read.value, VECTORS, atol=1e-6)
    assert read.value.dtype == np.float32
    named, spelt, listed = (
        Normals().with_format(convention=name).read(path).value
        for name in ('geonet', 'x,-y,-z', ['x', '-y', '-z'])
    )
    np.testing.assert_array_equal(named, spelt)
    np.testing.assert_array_equal(named, listed)


def test_conventions_one_after_the_other():
    eye = np.eye(3)
    for first in all_axes()[::7]:
        for then in all_axes()[::5]:
            np.testing.assert_array_equal(
                to_ours(eye, compose(first, then)), to_ours(to_ours(eye, first), then)
            )


@pytest.mark.parametrize(
    'stored',
    [VECTORS.astype(complex), VECTORS > 0, VECTORS.astype('U5'), VECTORS.astype('M8[s]')],
    ids=['complex', 'bool', 'text', 'date'],
)
def test_what_is_no_number_is_refused(tmp_path, stored):
    np.save(tmp_path / 'n.npy', stored)
    for read in (Normals().read, Normals().read_prediction):
        with pytest.raises(ValueError, match=r'n\.npy'):
            read(tmp_path / 'n.npy')


@pytest.mark.parametrize('value', [np.nan, -np.inf, 1e300])
def test_predictions_that_make_no_sense_are_refused(tmp_path, value):
    stored = VECTORS.astype(np.float64)
    stored[3, 4, 1] = value
    np.save(tmp_path / 'n.npy', stored)
    with pytest.raises(ValueError, match=r'n\.npy of task .*: expected unit vectors'):
        Normals().read_prediction(tmp_path / 'n.npy')
    assert not Normals().read(tmp_path / 'n.npy').valid[3, 4]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(range=[1, 0]), r'^normals.range: .*such as \[0, 1\]; got \[1, 0\]'),
        (dict(range=255), '^normals.range: '),
        (dict(range=[0, float('inf')]), '^normals.range: '),
        (dict(range='0..1'), '^normals.range: '),
        (dict(convention='xyz'), '^normals.convention: .*refinenet'),
        (dict(convention={'x': 1}), '^normals.convention: '),
        (dict(encoding='rgb'), '^normals.encoding: '),
    ],
)
def test_formats_of_normals_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Normals().with_format(**settings)
