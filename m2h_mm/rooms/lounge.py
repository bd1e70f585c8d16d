"""Furniture beyond the usual: ottomans, consoles, game tables, tub chairs, screens, cubes, steps.

Every function returns a new :class:`Group`, its back towards +y.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from m2h_mm.rooms import materials, props
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.furniture import add_legs, on_top
from m2h_mm.rooms.primitives import Group


def ottoman(rng: np.random.Generator) -> Group:
    """A padded bench or footstool."""
    group = Group()
    group.begin(Nyu40.OTHERFURNITURE)
    cloth, frame = materials.fabric(rng), materials.wood(rng)
    if rng.random() < 0.5:
        cloth = replace(cloth, pattern='tufted')
    width, depth, height = rng.uniform(0.5, 1.4), rng.uniform(0.4, 0.9), rng.uniform(0.36, 0.48)
    foot = rng.uniform(0.08, 0.3)
    add_legs(group, width, depth, foot, rng.uniform(0.05, 0.1), frame, inset=0.01)
    group.box((width, depth, height - foot), (0, 0, foot), cloth)
    if rng.random() < 0.5:
        group.ellipsoid((0.97 * width, 0.97 * depth, 0.1), (0, 0, height - 0.05), cloth)
    return group


def console(rng: np.random.Generator, lit: bool) -> Group:
    """A narrow table on a thin frame, with lamps or vases."""
    group = Group()
    group.begin(Nyu40.TABLE)
    frame = materials.metal(rng) if rng.random() < 0.6 else materials.wood(rng)
    top = materials.stone(rng) if rng.random() < 0.5 else materials.wood(rng)
    width, depth, height = rng.uniform(0.9, 1.6), rng.uniform(0.3, 0.45), rng.uniform(0.72, 0.85)
    group.box((width, depth, 0.04), (0, 0, height - 0.04), top)
    thick = rng.uniform(0.03, 0.05)
    add_legs(group, width, depth, height - 0.04, thick, frame, inset=0.0)
    for end in (-1, 1):
        group.box((width, thick, thick), (0, end * (depth - thick) / 2, height - 0.09), frame)
    if rng.random() < 0.6:
        group.box((width - 0.08, depth - 0.08, 0.02), (0, 0, 0.15), top)
    things = [props.table_lamp(rng, lit and index == 0) for index in range(rng.integers(0, 3))]
    on_top(rng, group, width, depth, height, [*things, props.vase(rng), props.paper(rng)])
    return group


def side_table(rng: np.random.Generator, lit: bool) -> Group:
    """A small table on one foot or on four legs, often with a lamp."""
    group = Group()
    group.begin(Nyu40.TABLE)
    top, size, height = materials.wood(rng), rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.68)
    if rng.random() < 0.5:
        group.cylinder((size, size, 0.03), (0, 0, height - 0.03), top)
        group.cylinder((0.06, 0.06, height - 0.06), (0, 0, 0.03), top)
        group.cylinder((0.7 * size, 0.7 * size, 0.03), (0, 0, 0), top)
    else:
        group.box((size, size, 0.03), (0, 0, height - 0.03), top)
        add_legs(group, size, size, height - 0.03, 0.04, top)
    things = [props.table_lamp(rng, lit)] if rng.random() < 0.6 else [props.vase(rng)]
    on_top(rng, group, 0.75 * size, 0.75 * size, height, things)
    return group


def game_table(rng: np.random.Generator) -> Group:
    """A pool table: a deep frame with cushions around a cloth, on four thick legs, with balls."""
    group = Group()
    group.begin(Nyu40.OTHERFURNITURE)
    frame = materials.wood(rng)
    cloth = materials.paint(rng, ('1d5a3a', '16171a', '5a2330', '24406a')[rng.integers(4)])
    width, depth = rng.uniform(1.8, 2.4), rng.uniform(1.0, 1.3)
    height, deep, thick = rng.uniform(0.74, 0.84), rng.uniform(0.15, 0.3), rng.uniform(0.14, 0.24)
    for x in (-1, 1):
        for y in (-1, 1):
            at = (x * (width / 2 - thick), y * (depth / 2 - thick), 0)
            (group.cylinder if rng.random() < 0.9 else group.box)(
                (thick, thick, height - deep), at, frame
            )
    group.box((width - 0.06, depth - 0.06, deep - 0.05), (0, 0, height - deep), frame)
    group.box((width - 0.1, depth - 0.1, 0.02), (0, 0, height - 0.05), cloth)
    for side in (-1, 1):
        group.box((width, 0.12, 0.05), (0, side * (depth / 2 - 0.06), height - 0.05), frame)
        rail = (0.12, depth - 0.24, 0.05)
        group.box(rail, (side * (width / 2 - 0.06), 0, height - 0.05), frame)
    for _ in range(rng.integers(0, 8)):
        group.begin(Nyu40.OTHERPROP)
        at = (rng.uniform(-0.4, 0.4) * width, rng.uniform(-0.35, 0.35) * depth, height - 0.03)
        group.ellipsoid((0.057, 0.057, 0.057), at, materials.vivid(rng))
    return group


def tub_chair(rng: np.random.Generator) -> Group:
    """An armchair whose back runs round the seat."""
    group = Group()
    group.begin(Nyu40.CHAIR)
    cloth, frame = materials.fabric(rng), materials.wood(rng)
    width, seat, back = rng.uniform(0.6, 0.75), rng.uniform(0.38, 0.45), rng.uniform(0.65, 0.85)
    add_legs(group, 0.7 * width, 0.7 * width, 0.15, 0.04, frame)
    group.cylinder((width - 0.1, width - 0.1, seat - 0.15), (0, 0, 0.15), cloth)
    radius = (width - 0.1) / 2
    for angle in np.linspace(-0.15, np.pi + 0.15, 9):
        at = (radius * np.cos(angle), radius * np.sin(angle), 0.15)
        group.box((0.1, 0.3 * width, back - 0.15), at, cloth, yaw=angle)
    return group


def bean_bag(rng: np.random.Generator) -> Group:
    """A bean bag or a pouf."""
    group = Group()
    group.begin(Nyu40.OTHERFURNITURE)
    cloth, size = materials.fabric(rng), rng.uniform(0.5, 0.85)
    group.ellipsoid((size, size, 0.55 * size), (0, 0, -0.01), cloth)
    if rng.random() < 0.6:
        group.ellipsoid((0.75 * size, 0.4 * size, 0.7 * size), (0, 0.2 * size, 0.05), cloth)
    return group


def folding_screen(rng: np.random.Generator) -> Group:
    """Three or four leaves that stand in a zigzag."""
    group = Group()
    group.begin(Nyu40.OTHERFURNITURE)
    frame = materials.wood(rng)
    leaf = frame if rng.random() < 0.4 else materials.linen(rng)
    width, height, turn = rng.uniform(0.38, 0.5), rng.uniform(1.4, 1.8), rng.uniform(0.3, 0.7)
    for index in range(rng.integers(3, 5)):
        yaw = turn * (1 - 2 * (index % 2))
        at = (index * width * np.cos(turn), 0, 0)
        group.box((width, 0.03, height), at, leaf, yaw=yaw)
        group.box((width, 0.045, 0.06), (*at[:2], height - 0.06), frame, yaw=yaw, casts=False)
    return group


def cubes(rng: np.random.Generator) -> Group:
    """A shelf of square compartments, open on one side; :mod:`scatter` fills it."""
    group = Group()
    group.begin(Nyu40.SHELVES)
    board, size, depth = materials.wood(rng), rng.uniform(0.32, 0.4), rng.uniform(0.3, 0.4)
    columns, rows, thick = int(rng.integers(2, 5)), int(rng.integers(1, 5)), 0.03
    width, height = columns * size + thick, rows * size + thick
    group.box((width, 0.01, height), (0, depth / 2, 0), board)
    for column in range(columns + 1):
        at = (column * size - columns * size / 2, 0, 0)
        group.box((thick, depth - 0.02, height), at, board)
    for row in range(rows + 1):
        group.box((width - thick, depth - 0.02, thick), (0, 0, row * size), board)
    for column in range(columns):
        for row in range(rows):
            if rng.random() < 0.4:
                group_at = ((column - columns / 2) * size + 0.03, 0, row * size + thick)
                row_of_books = props.standing_books(
                    rng, (size - 0.06) * rng.uniform(0.4, 1), size - 0.08, depth - 0.08
                )
                group.put(row_of_books, group_at)
    return group


def steps(rng: np.random.Generator) -> Group:
    """A few steps along a wall, or a platform."""
    group = Group()
    group.begin(Nyu40.OTHERSTRUCTURE)
    material, rise = materials.floor(rng), rng.uniform(0.14, 0.19)
    count, width, tread = int(rng.integers(1, 5)), rng.uniform(0.9, 1.5), rng.uniform(0.25, 0.3)
    for index in range(count):
        deep = tread * (count - index)
        at = (0, tread * index / 2, rise * index)
        group.box((width, deep, rise), at, material)
    return group
