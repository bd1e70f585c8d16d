"""A furnished room from a random generator."""

from __future__ import annotations

import numpy as np

from m2h_mm.rooms import fixtures
from m2h_mm.rooms.furnishing import FURNISHERS, decorate
from m2h_mm.rooms.room import Room
from m2h_mm.rooms.shell import add_column, add_door, add_windows, build_shell


def make_room(rng: np.random.Generator) -> Room:
    """A furnished bedroom, living room, dining room, kitchen or office."""
    size = np.array([rng.uniform(3.3, 5.6), rng.uniform(3.2, 5.0), rng.uniform(2.4, 2.9)])
    daylight = 0.0 if rng.random() < 0.2 else rng.uniform(0.35, 1.0)
    room = Room(size, daylight)
    build_shell(rng, room)
    if rng.random() < 0.25:
        add_column(rng, room)
    order = rng.permutation(4)
    add_windows(rng, room, order[: rng.integers(1, 3)])
    add_door(rng, room, order[1:])
    lit = daylight < 0.5 or rng.random() < 0.3
    furnish = FURNISHERS[rng.choice(5, p=(0.26, 0.28, 0.16, 0.14, 0.16))]
    furnish(rng, room, lit)
    decorate(rng, room, lit)
    lamp = fixtures.ceiling_lamp(rng, daylight < 0.3 or rng.random() < 0.5)
    for _ in range(8):
        if room.put(
            lamp, (*rng.normal(0, 0.3, 2), size[2]), rng.choice([0, np.pi / 2]), subject=False
        ):
            break
    return room
