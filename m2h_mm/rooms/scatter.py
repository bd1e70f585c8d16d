"""Small things put wherever a furnished room has a free top to stand on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.clutter import ON_CUSHIONS, ON_FLOORS, ON_TABLES
from m2h_mm.rooms.primitives import BOX, CYLINDER, SHELL, Group, Part
from m2h_mm.rooms.room import Room, turned

_TABLES = {
    Nyu40.BOOKSHELF,
    Nyu40.CABINET,
    Nyu40.COUNTER,
    Nyu40.DESK,
    Nyu40.DRESSER,
    Nyu40.NIGHT_STAND,
    Nyu40.OTHERFURNITURE,
    Nyu40.SHELVES,
    Nyu40.TABLE,
}
_CUSHIONS = {Nyu40.BED, Nyu40.CHAIR, Nyu40.SOFA}
_AIR = 0.002
"""Between a thing and what it stands on, so that rounding never makes them meet, metres."""
_TRIES = 4


def part_bounds(part: Part) -> np.ndarray:
    """(2, 3) bounds of a part, axis-aligned, metres."""
    reach = np.abs(part.rotation) @ part.half
    return np.array([part.center - reach, part.center + reach])


def scatter(rng: np.random.Generator, room: Room, things: Sequence[int]) -> None:
    """Put up to so many things on tables and shelves, on beds and seats, and on the floor.

    A thing stands whole on a level top, and its bounds meet those of no other part.
    """
    taken = np.array([part_bounds(part) for part in room.group.parts if part.kind != SHELL])
    for kinds, makers, count in zip(
        (_TABLES, _CUSHIONS, {Nyu40.FLOOR, Nyu40.FLOOR_MAT}),
        (ON_TABLES, ON_CUSHIONS, ON_FLOORS),
        things,
        strict=True,
    ):
        tops = [part for part in room.group.parts if _is_top(room, part, kinds)]
        if not tops:
            continue
        chances = np.array([np.sqrt(part.half[0] * part.half[1]) for part in tops])
        for _ in range(count):
            maker: Callable[[np.random.Generator], Group] = makers[rng.integers(len(makers))]
            thing = maker(rng)
            for number in rng.choice(len(tops), _TRIES, p=chances / chances.sum()):
                bounds = _put(rng, room, tops[number], thing, taken)
                if bounds is not None:
                    taken = np.concatenate([taken, bounds[None]])
                    break


def _is_top(room: Room, part: Part, kinds: set[int]) -> bool:
    height = part.center[2] + part.half[2]
    return (
        room.group.classes[part.instance] in kinds
        and part.kind in (BOX, CYLINDER, SHELL)
        and abs(part.taper) < 1e-6
        and part.rotation[2, 2] > 0.9999
        and min(part.half[:2]) > 0.09
        and height < 1.75
    )


def _put(rng, room: Room, top: Part, thing: Group, taken: np.ndarray) -> np.ndarray | None:
    """Stand a thing somewhere on a top; its bounds, or None where that place is taken."""
    shape = thing.bounds()
    yaw = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.choice(4) * np.pi / 2
    # ``turned`` bounds in the top's own axes, whatever way the top itself is turned.
    outline = turned(shape, yaw)
    half = top.half[:2] * (np.sqrt(0.5) if top.kind == CYLINDER else 1) - 0.01
    lowest, highest = -half - outline[0, :2], half - outline[1, :2]
    if (lowest > highest).any():
        return None
    local = (*rng.uniform(lowest, highest), top.half[2] + _AIR - shape[0, 2])
    at = top.center + top.rotation @ local
    turn = yaw + np.arctan2(top.rotation[1, 0], top.rotation[0, 0])
    bounds = turned(shape, turn) + at
    limit = room.size / 2
    if (bounds[0, :2] < -limit[:2]).any() or (bounds[1, :2] > limit[:2]).any():
        return None
    if ((bounds[0] < taken[:, 1]) & (bounds[1] > taken[:, 0])).all(1).any():
        return None
    room.group.put(thing, at, turn)
    room.loose.append(bounds)
    return bounds
