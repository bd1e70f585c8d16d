"""Walls, floor, ceiling, columns, windows and doors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2h_mm.rooms import fixtures, materials
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.placement import try_walls
from m2h_mm.rooms.primitives import SHELL, Group, Part
from m2h_mm.rooms.room import ALONG, INWARD, WALLS, YAW, Room, Window, turned


def build_shell(rng, room: Room) -> None:
    width, depth, height = room.size
    group = room.group
    walls = [materials.wall(rng)] * 4
    if rng.random() < 0.3:
        walls[rng.integers(4)] = materials.wall(rng)
    surfaces = [*walls, materials.floor(rng), materials.ceiling(rng)]
    for class_id in (Nyu40.WALL, Nyu40.FLOOR, Nyu40.CEILING):
        group.begin(class_id)
    for face, material in enumerate(surfaces):
        axis, side = face // 2, 2 * (face % 2) - 1
        half, center = room.size / 2, np.array([0, 0, height / 2])
        half[axis] = 1e-3
        center[axis] = side * room.size[axis] / 2 + (height / 2 if axis == 2 else 0)
        group.parts.append(Part(SHELL, center, half, np.eye(3), material, max(face - 3, 0)))
    board, tall = materials.wood(rng), rng.uniform(0.06, 0.12)
    trim = Group(classes=[Nyu40.WALL])
    for wall in WALLS:
        trim.box(
            (room.wall_length(wall), 0.015, tall),
            room.at_wall(wall, 0, gap=0.0075),
            board,
            yaw=YAW[wall],
            casts=False,
        )
        if height > 2.5 and tall > 0.09:
            at = room.at_wall(wall, 0, height - 0.06, gap=0.03)
            trim.box(
                (room.wall_length(wall), 0.06, 0.06), at, surfaces[5], yaw=YAW[wall], casts=False
            )
    group.parts.extend(trim.parts)


def add_column(rng, room: Room) -> None:
    """A corner of the room that is walled off, or a beam below the ceiling."""
    width, depth, height = room.size
    part = Group()
    if rng.random() < 0.5:
        size = (rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.6), height)
        part.begin(Nyu40.WALL)
        part.box(size, (0, 0, 0), room.group.parts[0].material)
        signs = rng.choice([-1, 1], 2)
        if room.put(
            part,
            (signs[0] * (width - size[0]) / 2, signs[1] * (depth - size[1]) / 2, 0),
            0.0,
            subject=False,
        ):
            room.group.parts[-1].instance = 0
            room.group.classes.pop()
    else:
        part.begin(Nyu40.OTHERSTRUCTURE)
        part.box((width, 0.2, 0.18), (0, 0, -0.18), materials.wood(rng))
        room.put(part, (0, rng.uniform(-0.3, 0.3) * depth, height), 0.0, subject=False)


def add_windows(rng, room: Room, walls: Sequence[int]) -> None:
    for wall in walls:
        sill = rng.uniform(0.75, 0.95)
        height = min(rng.uniform(1.0, 1.5), room.size[2] - sill - 0.25)
        width = rng.uniform(0.9, min(2.2, room.wall_length(wall) - 1.2))
        shift = rng.uniform(-0.5, 0.5) * (room.wall_length(wall) - width - 1.1)
        whole = fixtures.window(rng, width, height, room.daylight)
        chance = rng.random()
        if chance < 0.5:
            drop = -sill + 0.03 if rng.random() < 0.5 else -0.2
            whole.put(fixtures.curtains(rng, width, height + 0.12, drop), (0, 0, 0))
        elif chance < 0.75:
            whole.put(fixtures.blinds(rng, width, height), (0, 0, 0))
        if not room.put_at_wall(whole, wall, shift, sill, gap=0.0):
            continue
        center = room.at_wall(wall, shift, sill + height / 2, gap=0.02)
        room.windows.append(Window(center, ALONG[wall], width / 2, height / 2, INWARD[wall]))
        if chance >= 0.5 and rng.random() < 0.6:
            room.put_at_wall(fixtures.radiator(rng, width * 0.8), wall, shift, subject=False)
        front = turned(
            np.array([[-width / 2 - 0.1, -0.3, sill], [width / 2 + 0.1, 0, sill + height]]),
            YAW[wall],
        )
        room.reserved.append(front + room.at_wall(wall, shift))


def add_door(rng, room: Room, walls: Sequence[int]) -> None:
    leaf = fixtures.door(rng)
    placed = try_walls(rng, room, leaf, walls, gap=0.0)
    if placed:
        wall, shift = placed
        before = turned(np.array([[-0.5, -0.85, 0], [0.5, 0, 2.0]]), YAW[wall])
        room.reserved.append(before + room.at_wall(wall, shift))
