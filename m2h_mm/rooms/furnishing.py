"""The furniture of each kind of room, and decoration."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from m2h_mm.rooms import fixtures, furniture, props, storage
from m2h_mm.rooms.placement import furnish, lay_rug, put_middle, try_walls
from m2h_mm.rooms.primitives import Group
from m2h_mm.rooms.room import YAW, Room


def furnish_bedroom(rng, room: Room, lit: bool) -> None:
    piece = furniture.bed(rng)
    placed = try_walls(rng, room, piece, tries=60)
    if placed:
        wall, shift = placed
        half = np.ptp(piece.bounds()[:, 0]) / 2
        for side in (-1, 1):
            if rng.random() < 0.8:
                stand = storage.night_stand(rng, lit)
                room.put_at_wall(
                    stand, wall, shift + side * (half + np.ptp(stand.bounds()[:, 0]) / 2 + 0.04)
                )
        if rng.random() < 0.6:
            at = room.at_wall(wall, shift, gap=1.5)
            lay_rug(rng, room, at, YAW[wall], 2.2, 1.4)
    options: list[Callable[[], Group]] = [
        lambda: storage.cupboard(rng),
        lambda: storage.dresser(rng, lit),
        lambda: furniture.desk(rng, lit),
        lambda: storage.bookshelf(rng),
        lambda: furniture.sofa(rng, seats=1),
        lambda: furniture.chair(rng),
    ]
    furnish(rng, room, options, 2, 5)


def furnish_living_room(rng, room: Room, lit: bool) -> None:
    piece = furniture.sofa(rng)
    placed = try_walls(rng, room, piece, tries=60)
    if placed:
        wall, shift = placed
        opposite = wall ^ 1
        room.put_at_wall(storage.sideboard(rng, True), opposite, -shift + rng.normal(0, 0.15))
        table = furniture.coffee_table(rng)
        gap = np.ptp(piece.bounds()[:, 1]) + 0.3 + np.ptp(table.bounds()[:, 1]) / 2
        at = room.at_wall(wall, shift, gap=gap)
        if room.put(table, at, YAW[wall]) and rng.random() < 0.8:
            lay_rug(rng, room, at, YAW[wall], 2.3, 1.6)
    options: list[Callable[[], Group]] = [
        lambda: storage.bookshelf(rng),
        lambda: furniture.sofa(rng, seats=1),
        lambda: storage.sideboard(rng, False),
        lambda: furniture.sofa(rng, seats=2),
        lambda: storage.rack(rng),
        lambda: storage.cupboard(rng),
        lambda: furniture.desk(rng, lit),
    ]
    furnish(rng, room, options, 2, 5)


def furnish_dining_room(rng, room: Room, lit: bool) -> None:
    for _ in range(8):
        if put_middle(rng, room, furniture.dining(rng)):
            break
    options: list[Callable[[], Group]] = [
        lambda: storage.sideboard(rng, False),
        lambda: storage.cupboard(rng),
        lambda: storage.bookshelf(rng),
        lambda: storage.rack(rng),
        lambda: storage.dresser(rng, lit),
        lambda: furniture.chair(rng),
    ]
    furnish(rng, room, options, 2, 5)


def furnish_kitchen(rng, room: Room, lit: bool) -> None:
    wall = int(rng.integers(4))
    for _ in range(12):
        width = rng.uniform(1.6, min(3.2, room.wall_length(wall) - 0.3))
        if try_walls(rng, room, storage.kitchen(rng, width), tries=12):
            break
    try_walls(rng, room, storage.refridgerator(rng))
    for _ in range(6):
        if put_middle(rng, room, furniture.dining(rng)):
            break
    options: list[Callable[[], Group]] = [
        lambda: storage.cupboard(rng),
        lambda: storage.rack(rng),
        lambda: furniture.stool(rng),
        lambda: storage.sideboard(rng, False),
    ]
    furnish(rng, room, options, 1, 4)


def furnish_office(rng, room: Room, lit: bool) -> None:
    try_walls(rng, room, furniture.desk(rng, lit), tries=60)
    if rng.random() < 0.7:
        try_walls(rng, room, fixtures.whiteboard(rng), height=rng.uniform(0.95, 1.1), gap=0.0)
    options: list[Callable[[], Group]] = [
        lambda: furniture.desk(rng, lit),
        lambda: storage.bookshelf(rng),
        lambda: storage.rack(rng),
        lambda: storage.cupboard(rng),
        lambda: furniture.sofa(rng),
        lambda: storage.sideboard(rng, False),
    ]
    furnish(rng, room, options, 3, 6)


FURNISHERS = (
    furnish_bedroom,
    furnish_living_room,
    furnish_dining_room,
    furnish_kitchen,
    furnish_office,
)


def decorate(rng, room: Room, lit: bool) -> None:
    for _ in range(rng.integers(1, 5)):
        width, height = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.75)
        at = rng.uniform(1.5, 1.75) - height / 2
        try_walls(rng, room, fixtures.picture(rng, width, height), height=at, gap=0.0, tries=8)
    if rng.random() < 0.45:
        try_walls(
            rng, room, storage.wall_shelf(rng), height=rng.uniform(1.2, 1.4), gap=0.0, tries=10
        )
    if rng.random() < 0.15:
        try_walls(
            rng,
            room,
            props.television(rng, stand=False),
            height=rng.uniform(1.0, 1.2),
            gap=0.0,
            tries=10,
        )
    if rng.random() < 0.12:
        try_walls(rng, room, fixtures.towel(rng), height=1.0, gap=0.0, tries=6)
    if rng.random() < 0.45:
        try_walls(rng, room, fixtures.floor_lamp(rng, lit and rng.random() < 0.6), gap=0.08)
    if rng.random() < 0.5:
        try_walls(rng, room, props.plant(rng, rng.uniform(0.6, 1.4)), gap=0.05)
    for thing, chance in (
        (props.cardboard_box, 0.5),
        (props.cardboard_box, 0.3),
        (props.bag, 0.35),
        (props.clothes, 0.15),
        (furniture.stool, 0.15),
    ):
        if rng.random() < chance:
            group, yaw = thing(rng), rng.uniform(0, 2 * np.pi)
            for _ in range(10):
                at = (*rng.uniform(-0.5, 0.5, 2) * room.size[:2], 0)
                if room.put(group, at, yaw):
                    break
