"""Doors, windows, pictures, ceiling lamps, rugs and other parts of the room itself.

Every function returns a new :class:`Group`; what hangs on a wall has its back at y = 0 and comes
out towards -y.
"""

from __future__ import annotations

import numpy as np

from m2h_mm.rooms import materials
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.primitives import Group


def door(rng: np.random.Generator) -> Group:
    """A closed door in its frame."""
    group = Group()
    group.begin(Nyu40.DOOR)
    leaf, frame, handle = materials.wood(rng), materials.wood(rng), materials.metal(rng)
    width, height = rng.uniform(0.8, 0.95), rng.uniform(1.98, 2.1)
    group.box((width, 0.03, height), (0, -0.015, 0), leaf, casts=False)
    for side in (-1, 1):
        group.box((0.08, 0.06, height + 0.08), (side * (width / 2 + 0.04), -0.03, 0), frame)
    group.box((width, 0.06, 0.08), (0, -0.03, height), frame)
    panels = int(rng.integers(0, 4))
    for panel in range(panels):
        tall = (height - 0.2) / panels
        group.box(
            (width - 0.24, 0.014, tall - 0.14), (0, -0.035, 0.15 + panel * tall), leaf, casts=False
        )
    side = rng.choice([-1, 1])
    group.cylinder(
        (0.05, 0.05, 0.02),
        (side * (width / 2 - 0.07), -0.04, 0.99),
        handle,
        tilt=np.pi / 2,
        casts=False,
    )
    group.box((0.12, 0.02, 0.02), (side * (width / 2 - 0.11), -0.065, 0.99), handle, casts=False)
    return group


def window(rng: np.random.Generator, width: float, height: float, daylight: float) -> Group:
    """A window with its frame and sill, bottom at z = 0; its first part is the pane."""
    group = Group()
    group.begin(Nyu40.WINDOW)
    frame = materials.paint(rng, ('f0efea', '8a6a4a', '3a3a3c')[rng.choice(3, p=(0.7, 0.2, 0.1))])
    group.box((width, 0.01, height), (0, -0.005, 0), materials.outdoors(rng, daylight), casts=False)
    thick = 0.06
    for side in (-1, 1):
        group.box((thick, 0.07, height + thick), (side * width / 2, -0.035, -thick / 2), frame)
        group.box(
            (width + thick, 0.07, thick),
            (0, -0.035, (height if side > 0 else 0) - thick / 2),
            frame,
        )
    bars = int(rng.integers(1, 4))
    for bar in range(1, bars):
        group.box((0.04, 0.04, height), (width * (bar / bars - 0.5), -0.02, 0), frame)
    if rng.random() < 0.5:
        group.box((width, 0.035, 0.04), (0, -0.0175, height * rng.choice([0.5, 0.68])), frame)
    group.box((width + 0.16, 0.16, 0.03), (0, -0.08, -0.09), frame)
    return group


def curtains(rng: np.random.Generator, width: float, height: float, drop: float) -> Group:
    """A pair of curtains with folds beside a window of ``width``, from a rod at ``height`` down to
    ``drop``.
    """
    group = Group()
    cloth = materials.curtain(rng)
    group.begin(Nyu40.CURTAIN)
    folds, fold = int(rng.integers(3, 6)), rng.uniform(0.07, 0.1)
    for side in (-1, 1):
        for index in range(folds):
            x = side * (width / 2 + 0.18 - index * fold * 0.85)
            size = (fold * rng.uniform(1.0, 1.25), rng.uniform(0.05, 0.085), height - drop)
            group.cylinder(size, (x, -0.13 - 0.02 * (index % 2), drop), cloth)
    rod = materials.metal(rng)
    length = width + 0.6
    group.box((length, 0.025, 0.025), (0, -0.13, height - 0.005), rod)
    for side in (-1, 1):
        group.box((0.02, 0.14, 0.02), (side * (length / 2 - 0.02), -0.07, height - 0.005), rod)
    return group


def blinds(rng: np.random.Generator, width: float, height: float) -> Group:
    """Slats over the upper part of a window."""
    group = Group()
    group.begin(Nyu40.BLINDS)
    slat = materials.paint(rng, ('eceae4', 'c9b99a', '9a7a55')[rng.integers(3)])
    group.box((width, 0.05, 0.04), (0, -0.1, height), slat)
    count = int(height * rng.uniform(0.35, 0.95) / 0.06)
    turn = rng.uniform(0.3, 0.9)
    for index in range(count):
        group.box((width, 0.05, 0.004), (0, -0.1, height - 0.06 * (index + 1)), slat, tilt=turn)
    return group


def picture(rng: np.random.Generator, width: float, height: float) -> Group:
    """A framed picture."""
    group = Group()
    group.begin(Nyu40.PICTURE)
    border = rng.uniform(0.015, 0.05)
    group.box((width, 0.03, height), (0, -0.015, 0), materials.wood(rng), casts=False)
    mat = rng.choice([0.0, 0.06]) if min(width, height) > 0.35 else 0.0
    if mat:
        group.box(
            (width - 2 * border, 0.004, height - 2 * border),
            (0, -0.031, border),
            materials.paint(rng, 'f0eee6'),
            casts=False,
        )
    inset = border + mat
    group.box(
        (width - 2 * inset, 0.006, height - 2 * inset),
        (0, -0.033, inset),
        materials.art(rng),
        casts=False,
    )
    return group


def whiteboard(rng: np.random.Generator) -> Group:
    """A whiteboard with a metal rim and a tray."""
    group = Group()
    group.begin(Nyu40.WHITEBOARD)
    width, height, rim = rng.uniform(1.1, 1.8), rng.uniform(0.8, 1.0), materials.metal(rng)
    group.box((width, 0.015, height), (0, -0.0075, 0), rim)
    group.box(
        (width - 0.04, 0.006, height - 0.04),
        (0, -0.017, 0.02),
        materials.paint(rng, 'f2f3f3', gloss=0.3),
        casts=False,
    )
    group.box((width * 0.6, 0.06, 0.015), (0, -0.04, 0), rim)
    return group


def towel(rng: np.random.Generator) -> Group:
    """A towel on a hook."""
    group = Group()
    group.begin(Nyu40.TOWEL)
    cloth = materials.linen(rng)
    group.box((0.3, 0.03, 0.55), (0, -0.04, 0), cloth)
    group.cylinder((0.31, 0.05, 0.05), (0, -0.045, 0.53), cloth)
    return group


def radiator(rng: np.random.Generator, width: float) -> Group:
    """A ribbed radiator for below a window."""
    group = Group()
    group.begin(Nyu40.OTHERSTRUCTURE)
    white = materials.paint(rng, 'eeece6')
    group.box((width, 0.06, 0.5), (0, -0.07, 0.13), white)
    for x in np.arange(-width / 2 + 0.04, width / 2, 0.08):
        group.cylinder((0.05, 0.07, 0.52), (x, -0.07, 0.12), white, casts=False)
    return group


def ceiling_lamp(rng: np.random.Generator, lit: bool) -> Group:
    """A lamp that hangs from (or sits on) a ceiling at z = 0."""
    group = Group()
    group.begin(Nyu40.LAMP)
    metal, glass = materials.metal(rng), materials.shade(rng, lit)
    kind = rng.integers(4)
    if kind == 0:
        group.ellipsoid((0.42, 0.42, 0.2), (0, 0, -0.12), glass, casts=False)
        bottom = -0.2
    elif kind == 1:
        drop, width = rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.5)
        group.cylinder((0.015, 0.015, drop), (0, 0, -drop), metal, casts=False)
        group.cylinder((width, width, 0.22), (0, 0, -drop - 0.22), glass, taper=-0.25, casts=False)
        bottom = -drop - 0.15
    elif kind == 2:
        drop = rng.uniform(0.25, 0.5)
        group.cylinder((0.02, 0.02, drop), (0, 0, -drop), metal, casts=False)
        group.ellipsoid((0.3, 0.3, 0.3), (0, 0, -drop - 0.3), glass, casts=False)
        bottom = -drop - 0.15
    else:
        group.box((1.2, 0.3, 0.06), (0, 0, -0.06), glass, casts=False)
        bottom = -0.12
    if lit:
        group.lamps.append(np.array([0, 0, bottom]))
    return group


def floor_lamp(rng: np.random.Generator, lit: bool) -> Group:
    """A standing lamp."""
    group = Group()
    group.begin(Nyu40.LAMP)
    metal, height, width = materials.metal(rng), rng.uniform(1.35, 1.6), rng.uniform(0.3, 0.42)
    group.cylinder((0.28, 0.28, 0.03), (0, 0, 0), metal, casts=False)
    group.cylinder((0.025, 0.025, height), (0, 0, 0), metal, casts=False)
    group.cylinder(
        (width, width, 0.26),
        (0, 0, height - 0.1),
        materials.shade(rng, lit),
        taper=-rng.uniform(0, 0.25),
        casts=False,
    )
    if lit:
        group.lamps.append(np.array([0, 0, height + 0.03]))
    return group


def rug(rng: np.random.Generator, width: float, depth: float) -> Group:
    """A rug, square or round."""
    group = Group()
    group.begin(Nyu40.FLOOR_MAT)
    if rng.random() < 0.2:
        group.cylinder((depth, depth, 0.012), (0, 0, 0), materials.rug(rng))
    else:
        group.box((width, depth, 0.012), (0, 0, 0), materials.rug(rng))
    return group
