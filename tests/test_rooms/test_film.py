"""Exposure, blur and moving things of walks: labels change only where they must."""

from dataclasses import replace

import numpy as np
import pytest

from m2h_mm.rooms import Walk, WalkOptions
from m2h_mm.rooms.camera import look
from m2h_mm.rooms.film import Film

SIZE = (32, 48)
OPTIONS = WalkOptions(num_frames=20, fps=10)
LABELS = ('depth', 'normals', 'semseg', 'instances', 'edge', 'cam2world')


def walk(style='plain', index=5, **options):
    return Walk(11, index, *SIZE, style, replace(OPTIONS, **options))


def test_blur_and_exposure_leave_labels_alone():
    sharp = walk('varied').frame(12)
    for options in (dict(shutter=0.1), dict(exposure='auto')):
        other = walk('varied', **options).frame(12)
        assert (other.image != sharp.image).any()
        for name in LABELS:
            np.testing.assert_array_equal(getattr(other, name), getattr(sharp, name))


def test_blur_is_along_the_way_of_the_image():
    # A grey wall with one bright upright line, seen by a camera that moves to the right.
    eyes = [np.array([x, 0.0, 0.0]) for x in (0.0, 0.05)]
    camera, after = (look(eye, eye + (0, 1, 0), 0.0, 40.0, *SIZE) for eye in eyes)
    point = camera.rays() * np.float32(1.0)
    light = np.ones((3, *SIZE), np.float32)
    light[:, :, 24] = 9
    still = np.zeros(SIZE, bool)
    blurred = Film.blur(light, point, still, np.zeros(3), camera, after)
    # Half of the time it moves by 40 * 0.05 = 2 pixels: the line covers four.
    row = blurred[0, 16] - 1
    assert row.sum() == pytest.approx(8, rel=0.01) and row.argmax() in (23, 24, 25)
    assert (row > 0.5).sum() in (4, 5) and (blurred[:, 3] == blurred[:, 20]).all()
    # What moves along with the camera stays sharp.
    shift = np.array([0.05, 0, 0])
    moving = Film.blur(light, point, ~still, shift, camera, after)
    np.testing.assert_allclose(moving, light, atol=1e-3)


def test_exposure_of_a_film():
    key, dark, bright = (0, 0), np.full((3, 8, 8), 0.1), np.full((3, 8, 8), 0.8)

    def film(exposure):
        def photograph(rng, light, metered, grain):
            return metered.mean, rng.random(), grain.random()

        return Film(photograph, key, exposure, 4.0, lambda time: dark if time < 2 else bright)

    fixed, auto = film('fixed'), film('auto')
    means, settings, grains = zip(*(fixed.develop(dark, n, n) for n in range(4)), strict=True)
    assert len(set(means)) == len(set(settings)) == 1 and len(set(grains)) == 4
    assert 0.1 < means[0] < 0.8
    means = [auto.develop(dark, 0, time)[0] for time in (0, 1.5, 2.2, 2.6, 4)]
    # It follows with a delay, and has not come to the end after two seconds.
    assert means[:2] == pytest.approx([0.1, 0.1]) and means == sorted(means)
    assert 0.3 < means[3] < 0.8 == pytest.approx(means[4], abs=0.15)


@pytest.mark.parametrize('kind', ['ball', 'box'])
def test_a_thing_moves_and_nothing_else(kind):
    still, moving = walk(index=3), walk(index=3, moving=kind)
    places = set()
    for number in (8, 16):
        with_it, without = moving.frame(number), still.frame(number)
        mask = with_it.instances == with_it.moving
        assert mask.any() and without.moving is None
        rows, columns = np.nonzero(mask)
        places.add((rows.mean(), columns.mean()))
        np.testing.assert_array_equal(with_it.cam2world, without.cam2world)
        assert (with_it.depth[mask] < without.depth[mask]).all()
        for name in ('depth', 'normals', 'semseg', 'instances'):
            ours, theirs = (getattr(frame, name)[~mask] for frame in (with_it, without))
            np.testing.assert_array_equal(ours, theirs)
    assert len(places) == 2


def test_the_thing_meets_nothing():
    found = 0
    for index in range(4):
        film = walk(index=index, moving='box')
        if film.moving is None:
            continue
        found += 1
        (part,) = (part for part in film.room.group.parts if part.instance == film.moving)
        boxes = np.array(film.room.solids + film.room.loose)
        for number in range(len(film)):
            at = part.center + film.moving_at(number)
            low, high = at - part.half, at + part.half
            assert not ((low < boxes[:, 1]) & (high > boxes[:, 0])).all(1).any()
            assert (np.abs(at[:2]) + part.half[:2] < film.room.size[:2] / 2).all() and low[2] > 0
            assert np.linalg.norm((at - film.cam2world(number)[:3, 3])[:2]) > 0.4
    assert found > 1
