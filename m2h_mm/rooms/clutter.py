"""Small things that lie about. Every function returns a new :class:`Group`."""

from __future__ import annotations

import numpy as np

from m2h_mm.rooms import materials, props
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.primitives import Group


def _thing(class_id: int = Nyu40.OTHERPROP) -> Group:
    group = Group()
    group.begin(class_id)
    return group


def _any_material(rng) -> materials.Material:
    kinds = (materials.vivid, materials.paint, materials.metal, materials.wood, materials.fabric)
    return kinds[rng.integers(len(kinds))](rng)


def mug(rng: np.random.Generator) -> Group:
    """A mug or a glass."""
    group, material = _thing(), _any_material(rng)
    width, height = rng.uniform(0.06, 0.1), rng.uniform(0.08, 0.15)
    group.cylinder((width, width, height), (0, 0, 0), material, taper=rng.uniform(0, 0.15))
    if rng.random() < 0.6:
        group.box((0.035, 0.012, 0.6 * height), (width / 2, 0, 0.2 * height), material, casts=False)
    return group


def bottles(rng: np.random.Generator) -> Group:
    """One to four bottles, jars or cans side by side."""
    group = _thing()
    for index in range(rng.integers(1, 5)):
        width, height = rng.uniform(0.05, 0.09), rng.uniform(0.1, 0.24)
        at, material = (0.1 * index, rng.normal(0, 0.01), 0), _any_material(rng)
        group.cylinder((width, width, height), at, material)
        neck = width * rng.uniform(0.3, 0.9)
        group.cylinder((neck, neck, 0.06), (*at[:2], height), _any_material(rng), casts=False)
    return group


def plate(rng: np.random.Generator) -> Group:
    """A plate, or a bowl of fruit."""
    group, width = _thing(), rng.uniform(0.18, 0.3)
    group.cylinder((width, width, 0.03), (0, 0, 0), materials.paint(rng, gloss=0.2), taper=0.3)
    for _ in range(rng.integers(0, 5)):
        size = rng.uniform(0.06, 0.09)
        at = (*rng.uniform(-0.25, 0.25, 2) * width, 0.02)
        group.ellipsoid((size, size, size), at, materials.vivid(rng))
    return group


def laptop(rng: np.random.Generator) -> Group:
    """An open laptop."""
    group, case = _thing(), materials.steel(rng)
    group.box((0.34, 0.24, 0.02), (0, 0, 0), case)
    group.box((0.34, 0.012, 0.22), (0, 0.15, 0.01), case, tilt=-rng.uniform(0.1, 0.4))
    group.box((0.29, 0.1, 0.004), (0, 0.03, 0.02), materials.paint(rng, '222326'), casts=False)
    return group


def ball(rng: np.random.Generator) -> Group:
    """A ball or a round toy."""
    group, size = _thing(), rng.uniform(0.06, 0.24)
    group.ellipsoid((size, size, size), (0, 0, 0), materials.vivid(rng))
    return group


def toy(rng: np.random.Generator) -> Group:
    """A figure of a body, a head and limbs."""
    group, material, size = _thing(), _any_material(rng), rng.uniform(0.12, 0.35)
    group.ellipsoid((0.6 * size, 0.5 * size, 0.65 * size), (0, 0, 0), material)
    group.ellipsoid((0.42 * size, 0.4 * size, 0.42 * size), (0, 0, 0.55 * size), material)
    for side in (-1, 1):
        at = (side * 0.25 * size, -0.22 * size, 0)
        group.ellipsoid((0.2 * size, 0.4 * size, 0.2 * size), at, material)
    return group


def gadget(rng: np.random.Generator) -> Group:
    """A loudspeaker, a printer, a clock: a box with a face."""
    group, case = _thing(), materials.paint(rng, ('222326', 'd8d8d6', '5a5c60')[rng.integers(3)])
    width, depth, height = rng.uniform(0.1, 0.45), rng.uniform(0.1, 0.3), rng.uniform(0.08, 0.35)
    group.box((width, depth, height), (0, 0, 0), case)
    face, at = (0.8 * width, 0.006, 0.7 * height), (0, -depth / 2, 0.15 * height)
    group.box(face, at, _any_material(rng), casts=False)
    return group


def carton(rng: np.random.Generator) -> Group:
    """A small box, in any colour."""
    group = _thing(Nyu40.BOX)
    size = (rng.uniform(0.1, 0.35), rng.uniform(0.08, 0.28), rng.uniform(0.04, 0.25))
    group.box(size, (0, 0, 0), _any_material(rng))
    return group


def standing_picture(rng: np.random.Generator) -> Group:
    """A framed photograph that stands on a table."""
    group, width, height = _thing(Nyu40.PICTURE), rng.uniform(0.1, 0.25), rng.uniform(0.12, 0.28)
    lean = -rng.uniform(0.1, 0.3)
    group.box((width, 0.02, height), (0, 0, 0), materials.wood(rng), tilt=lean)
    inset = (0.8 * width, 0.012, 0.8 * height)
    group.box(inset, (0, -0.009, 0.1 * height), materials.art(rng), tilt=lean, casts=False)
    return group


def basket(rng: np.random.Generator) -> Group:
    """A basket or a bin with something in it."""
    group, material = _thing(), _any_material(rng)
    width, height = rng.uniform(0.22, 0.45), rng.uniform(0.2, 0.45)
    group.cylinder((width, width, height), (0, 0, 0), material, taper=rng.uniform(0, 0.2))
    inside = (0.75 * width, 0.75 * width, 0.12)
    group.ellipsoid(inside, (0, 0, height - 0.05), _any_material(rng))
    return group


def shoes(rng: np.random.Generator) -> Group:
    """A pair of shoes."""
    group, material = _thing(), _any_material(rng)
    for side in (-1, 1):
        x, yaw = side * rng.uniform(0.06, 0.1), rng.normal(0, 0.2)
        group.box((0.09, 0.25, 0.04), (x, 0, 0), material, yaw=yaw)
        group.ellipsoid((0.09, 0.16, 0.12), (x, 0.05, 0), material, yaw=yaw)
    return group


def throw(rng: np.random.Generator) -> Group:
    """A folded blanket or some clothes."""
    group, cloth, height = _thing(Nyu40.CLOTHES), materials.linen(rng), 0.0
    for _ in range(rng.integers(1, 4)):
        thick = rng.uniform(0.02, 0.05)
        size, at = (rng.uniform(0.3, 0.45), rng.uniform(0.25, 0.4), thick), (0, 0, height)
        group.box(size, at, cloth, yaw=rng.normal(0, 0.1))
        height += thick
    return group


def cushion(rng: np.random.Generator) -> Group:
    """A cushion that lies flat."""
    group, size = _thing(Nyu40.PILLOW), rng.uniform(0.35, 0.5)
    tilt = rng.normal(0, 0.08)
    group.ellipsoid((size, size, 0.18), (0, 0, 0.01), materials.linen(rng), tilt=tilt)
    return group


def low_plant(rng: np.random.Generator) -> Group:
    """A plant for a table."""
    return props.plant(rng, rng.uniform(0.2, 0.45))


ON_TABLES = (
    mug,
    bottles,
    plate,
    laptop,
    ball,
    toy,
    gadget,
    carton,
    standing_picture,
    low_plant,
    throw,
    props.book_pile,
    props.paper,
    props.vase,
)
ON_CUSHIONS = (cushion, cushion, throw, laptop, toy, props.book_pile, props.clothes)
ON_FLOORS = (
    ball,
    toy,
    gadget,
    carton,
    basket,
    shoes,
    throw,
    bottles,
    props.bag,
    props.book_pile,
    props.cardboard_box,
    props.clothes,
    props.paper,
)
