"""The varied style: larger and fuller rooms in coloured light, seen by a hand-held camera."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m2h_mm.rooms import fixtures, furniture, lighting, lounge, ornaments
from m2h_mm.rooms.finish import refinish
from m2h_mm.rooms.furnishing import FURNISHERS, decorate
from m2h_mm.rooms.lighting import Light
from m2h_mm.rooms.placement import furnish, put_middle, try_walls
from m2h_mm.rooms.primitives import Group
from m2h_mm.rooms.room import Room
from m2h_mm.rooms.scatter import scatter
from m2h_mm.rooms.shell import add_column, add_door, add_windows, build_shell
from m2h_mm.rooms.viewpoint import Framing

# The colour camera of a Kinect sees 63 by 50 degrees. It was held by hand, and pointed down.
FRAMING = Framing((57, 69), (0.9, 1.8), (0.15, 1.2), roll=2.5, spacing=0.45, nearest=0.9)


def make_room(rng: np.random.Generator) -> Room:
    """A furnished room of any kind, up to 8 metres long, with clutter."""
    size = np.array([3, 2.8, 2.3]) + (5, 4, 0.9) * rng.beta(1.2, 2, 3)
    daylight = 0.0 if rng.random() < 0.2 else rng.uniform(0.3, 1.3)
    room = Room(size, daylight)
    build_shell(rng, room)
    if rng.random() < 0.25:
        ornaments.panel_walls(rng, room)
    if rng.random() < 0.3:
        add_column(rng, room)
    order = rng.permutation(4)
    add_windows(rng, room, order[: rng.integers(1, 3)])
    for _ in range(rng.integers(1, 3)):
        add_door(rng, room, order[1:])
    lit = daylight < 0.5 or rng.random() < 0.4
    kinds = (*FURNISHERS, furnish_lounge)
    kinds[rng.choice(len(kinds), p=(0.23, 0.24, 0.13, 0.12, 0.12, 0.16))](rng, room, lit)
    more: list[Callable[[], Group]] = [
        lambda: lounge.ottoman(rng),
        lambda: lounge.console(rng, lit),
        lambda: lounge.side_table(rng, lit),
        lambda: lounge.tub_chair(rng),
        lambda: lounge.bean_bag(rng),
        lambda: lounge.folding_screen(rng),
        lambda: lounge.cubes(rng),
        lambda: lounge.steps(rng),
        lambda: furniture.chair(rng),
    ]
    furnish(rng, room, more, 1, 3 + int(size[0] * size[1] / 6))
    decorate(rng, room, lit)
    ornaments.hang(rng, room)
    lamp = fixtures.ceiling_lamp(rng, daylight < 0.3 or rng.random() < 0.5)
    room.put(lamp, (*rng.normal(0, 0.3, 2), size[2]), rng.choice([0, np.pi / 2]), subject=False)
    scatter(rng, room, rng.integers((2, 0, 1), (25, 6, 10)))
    refinish(rng, room)
    return room


def furnish_lounge(rng: np.random.Generator, room: Room, lit: bool) -> None:
    """Sofas and a console around an ottoman or a game table."""
    middle = lounge.game_table if rng.random() < 0.5 else lounge.ottoman
    for _ in range(8):
        if put_middle(rng, room, middle(rng)):
            break
    for piece in (lounge.console(rng, lit), furniture.sofa(rng), lounge.tub_chair(rng)):
        if rng.random() < 0.8:
            try_walls(rng, room, piece)
    options: list[Callable[[], Group]] = [
        lambda: furniture.sofa(rng, seats=1),
        lambda: furniture.sofa(rng),
        lambda: furniture.coffee_table(rng),
        lambda: lounge.side_table(rng, lit),
        lambda: lounge.tub_chair(rng),
    ]
    furnish(rng, room, options, 1, 4)


def make_lights(rng: np.random.Generator, room: Room) -> list[Light]:
    """The usual lights, each stronger or weaker, lamps from candlelight to cold white."""
    lights = lighting.make_lights(rng, room)
    warmth = rng.uniform(-0.15, 1.0)
    for light in lights:
        light.color = light.color * np.exp(rng.normal(0, 0.3))
        if light.kind == 'lamp':
            light.color = light.color.mean() * np.array([1, 1 - 0.2 * warmth, 1 - 0.55 * warmth])
    return lights
