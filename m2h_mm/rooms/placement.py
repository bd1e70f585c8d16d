"""Finding a place for a piece of furniture."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from m2h_mm.rooms import fixtures
from m2h_mm.rooms.primitives import Group
from m2h_mm.rooms.room import GAP, WALLS, Room, turned


def try_walls(
    rng,
    room: Room,
    group: Group,
    walls: Sequence[int] = WALLS,
    height: float = 0.0,
    tries: int = 24,
    gap: float = GAP,
    subject: bool = True,
) -> tuple[int, float] | None:
    """Place a group somewhere along one of the walls; returns (wall, shift), or None where there
    was no space.
    """
    half = np.ptp(group.bounds()[:, 0]) / 2
    for _ in range(tries):
        wall = int(rng.choice(walls))
        reach = room.wall_length(wall) / 2 - half - GAP
        if reach > 0:
            # Most furniture stands in corners or touches a neighbour; a triangular spread to both
            # ends looks so.
            shift = (
                rng.uniform(-reach, reach) if rng.random() < 0.6 else reach * rng.choice([-1, 1])
            )
            if room.put_at_wall(group, wall, shift, height, gap, subject):
                return wall, shift
    return None


def put_middle(rng, room: Room, group: Group) -> bool:
    at = (rng.uniform(-0.15, 0.15) * room.size[0], rng.uniform(-0.15, 0.15) * room.size[1], 0)
    yaw = rng.choice([0, np.pi / 2]) + (rng.normal(0, 0.1) if rng.random() < 0.3 else 0)
    placed = room.put(group, at, yaw)
    if placed and rng.random() < 0.4:
        lay_rug(rng, room, np.array(at), yaw, 2.6, 2.0)
    return placed


def lay_rug(rng, room: Room, at, yaw: float, width: float, depth: float) -> None:
    """A rug, which furniture may stand on."""
    size = rng.uniform(0.75, 1.1)
    group = fixtures.rug(rng, width * size, depth * size)
    bounds = turned(group.bounds(), yaw) + at
    if (np.abs(bounds[:, :2]) < room.size[:2] / 2 - 0.05).all():
        room.group.put(group, at, yaw)


def furnish(rng, room: Room, options: list[Callable[[], Group]], fewest: int, most: int) -> None:
    for index in rng.permutation(len(options))[: rng.integers(fewest, most + 1)]:
        try_walls(rng, room, options[index]())
