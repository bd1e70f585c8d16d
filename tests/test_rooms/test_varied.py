"""Rooms of the varied style: every new shape is met where it is, and nothing stands in another."""

import numpy as np
import pytest
from empty_room import empty_room

from m2h_mm.rooms import clutter, lounge, ornaments, render_frame
from m2h_mm.rooms.camera import look
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.finish import refinish
from m2h_mm.rooms.lighting import Light
from m2h_mm.rooms.materials import Material
from m2h_mm.rooms.photograph import snapshot
from m2h_mm.rooms.primitives import SHELL, Primitives
from m2h_mm.rooms.raycast import cast
from m2h_mm.rooms.reflections import add_reflections
from m2h_mm.rooms.room import Room, Window
from m2h_mm.rooms.scatter import part_bounds
from m2h_mm.rooms.styles import STYLES
from m2h_mm.rooms.textures import TEXTURES, Spot

LIT = dict.fromkeys(('console', 'side_table'), (True,))
NAMES = {
    lounge: 'bean_bag console cubes folding_screen game_table ottoman side_table steps tub_chair',
    ornaments: 'coats mirror painting plate prints sheet',
}
MAKERS = [getattr(module, name) for module in NAMES for name in NAMES[module].split()]
MAKERS += {*clutter.ON_TABLES, *clutter.ON_CUSHIONS, *clutter.ON_FLOORS}
MAKERS.sort(key=lambda maker: (maker.__module__, maker.__name__))


@pytest.fixture(scope='module')
def rooms():
    return [STYLES['varied'].make_room(np.random.default_rng((9, index))) for index in range(6)]


@pytest.mark.parametrize(
    'index, expected',
    [
        (0, (2.9103, 119.84, 18983, 23115)),
        (1, (2.8701, 143.46, 20780, 19226)),
        (2, (2.6566, 141.82, 27338, 23628)),
    ],
)
def test_the_plain_style_is_the_default_and_has_not_changed(index, expected):
    frame, named = render_frame(0, index, 48, 64), render_frame(0, index, 48, 64, 'plain')
    np.testing.assert_array_equal(frame.image, named.image)
    found = frame.depth.mean(), frame.image.mean(), frame.instances.sum(), frame.semseg.sum()
    # Other processors round otherwise, which may move a border by a pixel, but no more.
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_styles_differ():
    plain, varied = (render_frame(0, 1, 24, 32, style) for style in ('plain', 'varied'))
    assert (plain.depth != varied.depth).mean() > 0.9


@pytest.mark.parametrize('make', MAKERS, ids=lambda make: make.__name__)
def test_a_shape_is_met_where_it_is(make):
    """Points on the rays up to the depth are in no part; the point at the depth is on its part."""
    group, piece = empty_room(), make(np.random.default_rng(1), *LIT.get(make.__name__, ()))
    group.put(piece, (0, 0.3, 0.6))
    middle = piece.bounds().mean(0) + (0, 0.3, 0.6)
    focal = 30 / np.ptp(piece.bounds(), axis=0).max()
    camera = look((0.2, -1.8, 1.5), middle, 0.05, focal, 24, 32)
    primitives = Primitives(group.parts)
    hits = cast(primitives, camera)
    seen = hits.primitive >= 6
    assert seen.sum() > 10
    classes = np.array(group.classes)[primitives.instance[hits.primitive]]
    assert set(classes[seen]) <= set(map(int, piece.classes)) and set(piece.classes) <= set(Nyu40)
    rays, steps = camera.rays()[:, seen], np.linspace(0.05, 0.999, 60, dtype=np.float32)
    depth, met = hits.depth[seen], hits.primitive[seen]
    along = camera.position[:, None, None] + rays[..., None] * (depth[:, None] * steps)
    for p in range(6, len(group.parts)):
        # Of single precision's digits, a root takes (distance / size) ** 2: 0.1 mm at 2 metres.
        close = 2e-4 / primitives.half[p].min()
        assert (_level(primitives, p, along.reshape(3, -1)) > 1 - close).all()
        end = camera.position[:, None] + rays[:, met == p] * depth[met == p]
        np.testing.assert_allclose(_level(primitives, p, end), 1, atol=close)


def _level(primitives: Primitives, p: int, points: np.ndarray) -> np.ndarray:
    """(N,) below 1 inside primitive ``p``, 1 on its surface, above 1 outside."""
    x, y, z = primitives.to_unit[p].astype(float) @ (points - primitives.center[p][:, None])
    radius = 1 - abs(primitives.taper[p]) + primitives.taper[p] * z
    return (
        lambda: np.maximum(np.abs(x), np.maximum(np.abs(y), np.abs(z))),
        lambda: np.maximum(np.hypot(x, y) / np.maximum(radius, 1e-3), np.abs(z)),
        lambda: np.sqrt(x * x + y * y + z * z),
    )[primitives.kind[p]]()


def test_small_things_stand_on_something_and_in_nothing(rooms):
    for room in rooms:
        parts = np.array([part_bounds(part) for part in room.group.parts])
        solid = np.array([part.kind != SHELL for part in room.group.parts])
        for number, thing in enumerate(room.loose):
            for other in room.loose[:number]:
                assert (thing[0] >= other[1]).any() or (thing[1] <= other[0]).any()
            meets = ((parts[:, 0] < thing[1]) & (parts[:, 1] > thing[0])).all(1) & solid
            own = ((parts[:, 0] > thing[0] - 1e-6) & (parts[:, 1] < thing[1] + 1e-6)).all(1)
            assert own.any() and not (meets & ~own).any()
            below = np.abs(parts[:, 1, 2] - thing[0, 2]) < 0.005
            holds = ((parts[:, 0] < thing[1]) & (parts[:, 1] > thing[0]))[:, :2].all(1)
            assert (below & holds).any()
            assert (np.abs(thing[:, :2]) <= room.size[:2] / 2).all()
    assert sum(len(room.loose) for room in rooms) > 30


def test_surfaces_are_possible(rooms):
    for room in rooms:
        for part in room.group.parts:
            material = part.material
            assert material.pattern in TEXTURES
            assert (material.colors > 0).all() and (material.colors < 1).all()


@pytest.mark.parametrize('pattern', 'mottled parquet patchwork photo poster slate tufted'.split())
def test_patterns_are_even_from_afar_unless_they_are_pictures(pattern):
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-2, 2, (2, 500)).astype(np.float32)
    material = Material(pattern, rng.uniform(0.1, 0.8, (5, 3)).astype(np.float32), seed=3)
    two = np.full_like(u, 2)
    near, far = (
        TEXTURES[pattern](
            Spot(u, v, u / 2, v / 2, two, two, size * two, np.ones((3, 500))), material
        )
        for size in (1e-4, 2.0)
    )
    assert near.shape == far.shape == (3, 500) and near.std(1).min() > 0.003
    assert np.isfinite(near).all() and (near > 0).all() and (near < 2).all()
    if pattern not in ('photo', 'poster', 'patchwork', 'parquet'):
        assert far.std(1).max() < 0.7 * near.std(1).max()


def test_a_finish_is_shared_as_the_material_was_and_lit_things_keep_theirs():
    room = Room(np.array([4.0, 4.0, 3.0]), 0.5)
    room.group.put(empty_room(), (0, 0, 0))
    lamp = Material('plain', np.full((1, 3), 0.5, np.float32), glow=2.0)
    room.group.begin(Nyu40.TABLE)
    wood = Material('wood', np.full((2, 3), 0.5, np.float32))
    for material in (wood, wood, lamp):
        room.group.box((1, 1, 1), (0, 0, 0), material)
    refinish(np.random.default_rng(0), room)
    first, second, third = (part.material for part in room.group.parts[-3:])
    assert first is second and first is not wood and third is lamp


def test_a_smooth_floor_mirrors_the_window_and_a_matt_one_does_not():
    room = Room(np.array([4.0, 4.0, 3.0]), 1.0)
    across = np.array([1.0, 0, 0])
    room.windows.append(Window(np.array([0, 2.0, 1.5]), across, 0.5, 0.5, np.array([0, -1.0, 0])))
    camera = look((0, -1.0, 1.5), (0, 0.5, 0), 0.0, 40.0, 41, 41)
    hits = cast(Primitives(empty_room().parts), camera)
    floor = hits.primitive == 4
    sky = Light('window', np.ones(3), room.windows[0].center, np.zeros((2, 3)), across)
    light = np.zeros((3, 41, 41), np.float32)
    add_reflections(light, room, camera, hits, [sky], floor.astype(np.float32))
    assert (light[:, ~floor] == 0).all() and (light[:, floor] > 0).all()
    # The mirrored camera is below the floor: it sees the pane's middle through (0, 0.5, 0).
    row, column = np.unravel_index(light[1].argmax(), light[1].shape)
    assert np.linalg.norm(hits.point[:, 20, 20] - (0, 0.5, 0)) < 0.01
    assert light[1, 20, 20] > 3 * light[1, 20][floor[20]].min()
    assert abs(column - 20) < 12


def test_a_snapshot_clips_sinks_and_keeps_its_size():
    light = np.zeros((3, 24, 40), np.float32)
    light[:, :, :8], light[:, :, 8:32], light[:, :, 32:] = 1e-4, 0.4, 30.0
    pictures = np.stack([snapshot(np.random.default_rng(seed), light) for seed in range(20)])
    assert pictures.shape == (20, 24, 40, 3) and pictures.dtype == np.uint8
    assert np.median(pictures[:, :, 2:6]) < 40 and np.median(pictures[:, :, 35:]) > 235
    assert pictures[:, :, 20].mean((1, 2)).std() > 8
    again = snapshot(np.random.default_rng(3), light)
    np.testing.assert_array_equal(again, pictures[3])
