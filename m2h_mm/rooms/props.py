"""Small things such as boxes, plants, bags and televisions.

Every function returns a new :class:`Group`.
"""

from __future__ import annotations

import numpy as np

from m2h_mm.rooms import materials
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.primitives import Group


def pillow(rng: np.random.Generator) -> Group:
    """A cushion that leans back towards +y."""
    group = Group()
    group.begin(Nyu40.PILLOW)
    width, height = rng.uniform(0.4, 0.62), rng.uniform(0.32, 0.42)
    group.ellipsoid(
        (width, 0.17, height), (0, 0, -0.02), materials.linen(rng), tilt=-rng.uniform(0.35, 0.8)
    )
    return group


def flat_pillow(rng: np.random.Generator) -> Group:
    """A pillow that lies on a bed."""
    group = Group()
    group.begin(Nyu40.PILLOW)
    group.ellipsoid(
        (rng.uniform(0.55, 0.72), rng.uniform(0.38, 0.46), 0.17),
        (0, 0, -0.02),
        materials.linen(rng),
        tilt=rng.uniform(0.0, 0.25),
    )
    return group


def table_lamp(rng: np.random.Generator, lit: bool) -> Group:
    """A lamp for a table or a night stand."""
    group = Group()
    group.begin(Nyu40.LAMP)
    foot = materials.metal(rng) if rng.random() < 0.5 else materials.vivid(rng)
    height, width = rng.uniform(0.22, 0.34), rng.uniform(0.22, 0.34)
    group.cylinder((0.15, 0.15, 0.025), (0, 0, 0), foot, casts=False)
    if rng.random() < 0.5:
        group.cylinder((0.025, 0.025, height), (0, 0, 0.02), foot, casts=False)
    else:
        group.ellipsoid((0.17, 0.17, height), (0, 0, 0.02), foot, casts=False)
    group.cylinder(
        (width, width, 0.2),
        (0, 0, height),
        materials.shade(rng, lit),
        taper=-rng.uniform(0, 0.2),
        casts=False,
    )
    if lit:
        group.lamps.append(np.array([0, 0, height + 0.1]))
    return group


def book_pile(rng: np.random.Generator) -> Group:
    """A few books on top of each other."""
    group = Group()
    group.begin(Nyu40.BOOKS)
    height = 0.0
    for _ in range(rng.integers(1, 5)):
        thick = rng.uniform(0.015, 0.045)
        size = (rng.uniform(0.18, 0.28), rng.uniform(0.14, 0.2), thick)
        at = (rng.normal(0, 0.01), rng.normal(0, 0.01), height)
        group.box(size, at, materials.vivid(rng), yaw=rng.normal(0, 0.25))
        height += thick
    return group


def standing_books(
    rng: np.random.Generator, width: float, height: float, depth: float = 0.18
) -> Group:
    """A row of upright books up to ``width`` wide and ``height`` tall, its left end at x = 0."""
    group = Group()
    group.begin(Nyu40.BOOKS)
    left = 0.0
    while left < width - 0.05:
        piece = min(rng.uniform(0.1, 0.3), width - left)
        size = (piece, depth * rng.uniform(0.75, 1), height * rng.uniform(0.72, 0.95))
        group.box(size, (left + piece / 2, 0, 0), materials.books(rng), casts=False)
        left += piece
    return group


def cardboard_box(rng: np.random.Generator) -> Group:
    """A closed box."""
    group = Group()
    group.begin(Nyu40.BOX)
    size = (rng.uniform(0.25, 0.55), rng.uniform(0.22, 0.42), rng.uniform(0.15, 0.4))
    group.box(size, (0, 0, 0), materials.cardboard(rng))
    return group


def plant(rng: np.random.Generator, height: float) -> Group:
    """A pot with leaves, ``height`` metres tall."""
    group = Group()
    group.begin(Nyu40.OTHERPROP)
    pot = height * rng.uniform(0.25, 0.35)
    group.cylinder((pot * 1.1, pot * 1.1, pot), (0, 0, 0), materials.vivid(rng), taper=0.12)
    leaves = materials.leaves(rng)
    crown = height - pot
    for _ in range(rng.integers(5, 10)):
        yaw, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.75)
        length = crown * rng.uniform(0.6, 0.95)
        offset = 0.5 * length * np.sin(lean)
        at = (
            np.sin(yaw) * offset,
            -np.cos(yaw) * offset,
            pot - 0.5 * length * (1 - np.cos(lean)) - 0.02,
        )
        group.ellipsoid(
            (length * rng.uniform(0.15, 0.32), 0.06 * length, length),
            at,
            leaves,
            yaw=yaw,
            tilt=lean,
        )
    return group


def vase(rng: np.random.Generator) -> Group:
    """A vase, bowl or bottle."""
    group = Group()
    group.begin(Nyu40.OTHERPROP)
    material = materials.vivid(rng)
    kind = rng.integers(3)
    if kind == 0:
        group.ellipsoid((0.16, 0.16, 0.2), (0, 0, -0.01), material)
        group.cylinder((0.06, 0.06, 0.1), (0, 0, 0.16), material, taper=0.2)
    elif kind == 1:
        group.cylinder((0.28, 0.28, 0.09), (0, 0, 0), material, taper=0.3)
    else:
        group.cylinder((0.08, 0.08, 0.18), (0, 0, 0), material)
        group.cylinder((0.03, 0.03, 0.1), (0, 0, 0.18), material)
    return group


def paper(rng: np.random.Generator) -> Group:
    """A sheet, or a few."""
    group = Group()
    group.begin(Nyu40.PAPER)
    for layer in range(rng.integers(1, 4)):
        group.box(
            (0.21, 0.29, 0.003),
            (rng.normal(0, 0.04), rng.normal(0, 0.04), 0.003 * layer),
            materials.paint(rng, 'f4f3ee'),
            yaw=rng.uniform(-0.6, 0.6),
            casts=False,
        )
    return group


def monitor(rng: np.random.Generator) -> Group:
    """A computer's screen with a keyboard before it."""
    group = Group()
    group.begin(Nyu40.OTHERPROP)
    case, width = materials.paint(rng, '222326', gloss=0.2), rng.uniform(0.45, 0.62)
    group.box((0.22, 0.16, 0.015), (0, 0.05, 0), case)
    group.box((0.05, 0.03, 0.15), (0, 0.08, 0.01), case)
    group.box((width, 0.03, width * 0.6), (0, 0.05, 0.11), case)
    group.box(
        (width - 0.03, 0.006, width * 0.6 - 0.03),
        (0, 0.033, 0.125),
        materials.screen(rng),
        casts=False,
    )
    group.box(
        (0.42, 0.14, 0.02),
        (0, -0.22, 0),
        materials.paint(rng, ('2a2b2d', 'dcdcdc')[rng.integers(2)]),
    )
    return group


def television(rng: np.random.Generator, stand: bool) -> Group:
    """A television, on a foot or for a wall."""
    group = Group()
    group.begin(Nyu40.TELEVISION)
    case, width = materials.paint(rng, '1b1b1d', gloss=0.3), rng.uniform(0.8, 1.3)
    height = width * 0.57
    if stand:
        group.box((width * 0.4, 0.2, 0.02), (0, 0, 0), case)
        group.box((0.08, 0.04, 0.07), (0, 0, 0.02), case)
    bottom = 0.07 if stand else 0.0
    group.box((width, 0.05, height), (0, 0, bottom), case)
    group.box(
        (width - 0.04, 0.01, height - 0.04),
        (0, -0.024, bottom + 0.02),
        materials.screen(rng),
        casts=False,
    )
    return group


def bag(rng: np.random.Generator) -> Group:
    """A bag that stands on the floor."""
    group = Group()
    group.begin(Nyu40.BAG)
    cloth = materials.fabric(rng)
    width, height = rng.uniform(0.3, 0.45), rng.uniform(0.25, 0.38)
    group.ellipsoid((width, 0.22, height * 1.2), (0, 0, -0.1 * height), cloth)
    group.box((width * 0.8, 0.17, height * 0.6), (0, 0, 0), cloth)
    group.box((width * 0.55, 0.025, 0.025), (0, 0, height * 1.25), cloth)
    for side in (-1, 1):
        group.box((0.025, 0.025, height * 0.35), (side * width * 0.26, 0, height * 0.92), cloth)
    return group


def clothes(rng: np.random.Generator) -> Group:
    """A heap of clothes."""
    group = Group()
    group.begin(Nyu40.CLOTHES)
    for _ in range(rng.integers(3, 6)):
        size = (rng.uniform(0.2, 0.45), rng.uniform(0.15, 0.3), rng.uniform(0.08, 0.16))
        group.ellipsoid(
            size,
            (rng.normal(0, 0.07), rng.normal(0, 0.06), -0.02),
            materials.linen(rng),
            yaw=rng.uniform(0, np.pi),
        )
    return group
