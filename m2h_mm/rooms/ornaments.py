"""What hangs on walls beyond pictures: mirrors, panelling, rows of prints, coats, sockets, vents.

Every function returns a new :class:`Group` with its back at y = 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2h_mm.rooms import fixtures, materials
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.placement import try_walls
from m2h_mm.rooms.primitives import Group
from m2h_mm.rooms.room import WALLS, YAW, Room


def mirror(rng: np.random.Generator) -> Group:
    """A mirror in its frame; what it shows is a blurred room, not this one."""
    group = Group()
    group.begin(Nyu40.MIRROR)
    width, height, border = rng.uniform(0.4, 1.1), rng.uniform(0.5, 1.1), rng.uniform(0.02, 0.08)
    glass = replace(materials.paint(rng), pattern='photo', colors=materials.art(rng).colors * 0.6)
    group.box((width, 0.03, height), (0, -0.015, 0), materials.wood(rng), casts=False)
    pane = (width - 2 * border, 0.006, height - 2 * border)
    group.box(pane, (0, -0.033, border), glass, casts=False)
    return group


def painting(rng: np.random.Generator) -> Group:
    """A large picture."""
    return fixtures.picture(rng, rng.uniform(0.6, 1.4), rng.uniform(0.5, 1.1))


def prints(rng: np.random.Generator) -> Group:
    """Two to five pictures of one size in a row, each an instance."""
    group = Group()
    width, height, gap = rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.75), rng.uniform(0.04, 0.25)
    for index in range(rng.integers(2, 6)):
        group.put(fixtures.picture(rng, width, height), (index * (width + gap), 0, 0))
    left, right = group.bounds()[:, 0]
    centred = Group()
    centred.put(group, (-(left + right) / 2, 0, 0))
    return centred


def sheet(rng: np.random.Generator) -> Group:
    """A poster, calendar or map without a frame."""
    group = Group()
    group.begin(Nyu40.PICTURE)
    size = (rng.uniform(0.3, 0.9), 0.004, rng.uniform(0.35, 0.95))
    group.box(size, (0, -0.002, 0), materials.art(rng), casts=False)
    return group


def coats(rng: np.random.Generator) -> Group:
    """A rail of hooks with coats and bags."""
    group, width = Group(), rng.uniform(0.5, 0.9)
    group.begin(Nyu40.OTHERPROP)
    group.box((width, 0.02, 0.08), (0, -0.01, 0.95), materials.wood(rng))
    for x in np.arange(-width / 2 + 0.12, width / 2, 0.22):
        if rng.random() < 0.7:
            group.begin(Nyu40.CLOTHES)
            cloth, drop = materials.fabric(rng), rng.uniform(0.4, 0.95)
            size = (rng.uniform(0.16, 0.24), rng.uniform(0.08, 0.16), drop)
            group.cylinder(size, (x, -0.1, 0.97 - drop), cloth, taper=-rng.uniform(0, 0.3))
    return group


def plate(rng: np.random.Generator) -> Group:
    """A switch, a socket, a vent or a clock."""
    group, paint = Group(), materials.paint(rng, ('f0efea', '8a8a88', '26272a')[rng.integers(3)])
    group.begin(Nyu40.OTHERPROP)
    if rng.random() < 0.3:
        size = rng.uniform(0.2, 0.35)
        group.cylinder((size, size, 0.04), (0, -0.02, size / 2), paint, tilt=np.pi / 2, casts=False)
    else:
        size = (rng.uniform(0.08, 0.4), 0.012, rng.uniform(0.08, 0.25))
        group.box(size, (0, -0.006, 0), paint, casts=False)
    return group


def panel_walls(rng: np.random.Generator, room: Room) -> None:
    """Boards around the lower part of the walls, below a rail; they belong to the walls."""
    height, board = rng.uniform(0.75, 1.0), materials.wood(rng)
    trim = Group(classes=[Nyu40.WALL])
    for wall in WALLS:
        length, yaw = room.wall_length(wall), YAW[wall]
        if rng.random() < 0.7:
            at = room.at_wall(wall, 0, gap=0.004)
            trim.box((length, 0.008, height), at, board, yaw=yaw, casts=False)
        at = room.at_wall(wall, 0, height, gap=0.0125)
        trim.box((length, 0.025, 0.06), at, board, yaw=yaw, casts=False)
    room.group.parts.extend(trim.parts)


def hang(rng: np.random.Generator, room: Room) -> None:
    """Put some of these on the walls where there is space."""
    for make, chance, low, high in (
        (painting, 0.6, 0.9, 1.3),
        (prints, 0.6, 1.0, 1.4),
        (mirror, 0.3, 0.8, 1.3),
        (sheet, 0.4, 0.9, 1.5),
        (sheet, 0.25, 0.9, 1.5),
        (coats, 0.2, 0.7, 0.9),
        (plate, 0.6, 0.3, 2.0),
        (plate, 0.6, 0.3, 2.0),
        (plate, 0.4, 1.0, 2.0),
    ):
        if rng.random() < chance:
            at = rng.uniform(low, high)
            try_walls(rng, room, make(rng), height=at, gap=0.0, tries=8, subject=False)
