"""Furniture to keep things in, and the kitchen.

Every function returns a new :class:`Group`, its back towards +y.
"""

from __future__ import annotations

import numpy as np

from m2h_mm.rooms import materials, props
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.furniture import on_top
from m2h_mm.rooms.primitives import Group


def _fronts(
    rng, group: Group, width, height, front_y, bottom, columns: int, rows: int, material, handle
) -> None:
    """Doors or drawers in a grid on the plane y = ``front_y``, each with a handle."""
    cell_x, cell_z, gap = width / columns, height / rows, 0.008
    upright = rows == 1
    for column in range(columns):
        for row in range(rows):
            x, z = (column + 0.5) * cell_x - width / 2, bottom + row * cell_z
            group.box(
                (cell_x - gap, 0.02, cell_z - gap),
                (x, front_y - 0.008, z + gap / 2),
                material,
                casts=False,
            )
            if upright:
                x += (0.5 * cell_x - 0.05) * (1 if column % 2 == 0 else -1)
                group.box(
                    (0.015, 0.025, 0.13),
                    (x, front_y - 0.028, z + 0.5 * cell_z - 0.06),
                    handle,
                    casts=False,
                )
            else:
                group.box(
                    (0.14, 0.025, 0.015),
                    (x, front_y - 0.028, z + 0.55 * cell_z),
                    handle,
                    casts=False,
                )


def cupboard(rng: np.random.Generator) -> Group:
    """A wardrobe or tall cabinet with doors."""
    group = Group()
    group.begin(Nyu40.CABINET)
    body, handle = materials.wood(rng), materials.metal(rng)
    front = body if rng.random() < 0.6 else materials.wood(rng)
    width, depth, height = rng.uniform(0.9, 1.7), rng.uniform(0.45, 0.6), rng.uniform(1.7, 2.1)
    group.box((width, depth, height), (0, 0, 0), body)
    group.box((width + 0.03, depth + 0.03, 0.04), (0, 0, height), body)
    drawers = rng.choice([0.0, 0.25])
    if drawers:
        _fronts(rng, group, width, drawers, -depth / 2, 0.07, 2, 2, front, handle)
    _fronts(
        rng,
        group,
        width,
        height - 0.09 - drawers,
        -depth / 2,
        0.07 + drawers,
        2 if width < 1.3 else 3,
        1,
        front,
        handle,
    )
    if rng.random() < 0.35:
        on_top(rng, group, width, depth, height + 0.04, [props.cardboard_box(rng)])
    return group


def sideboard(rng: np.random.Generator, with_television: bool) -> Group:
    """A low cabinet, as a rule under a television."""
    group = Group()
    group.begin(Nyu40.CABINET)
    body, handle = materials.wood(rng), materials.metal(rng)
    width, depth, height = rng.uniform(1.2, 1.8), rng.uniform(0.38, 0.48), rng.uniform(0.42, 0.8)
    group.box((width, depth, height - 0.08), (0, 0, 0.08), body)
    group.box((width - 0.08, depth - 0.08, 0.08), (0, 0, 0), materials.paint(rng, '2a2a2a'))
    _fronts(
        rng,
        group,
        width - 0.03,
        height - 0.13,
        -depth / 2,
        0.1,
        int(rng.integers(2, 5)),
        int(rng.integers(1, 3)),
        body,
        handle,
    )
    if with_television:
        group.put(props.television(rng, stand=True), (0, 0.05, height))
    else:
        things = [
            thing(rng) for thing in (props.vase, props.book_pile, props.vase) if rng.random() < 0.7
        ]
        things.append(props.plant(rng, 0.4))
        on_top(rng, group, width, depth, height, things)
    return group


def dresser(rng: np.random.Generator, lit: bool) -> Group:
    """A chest of drawers."""
    group = Group()
    group.begin(Nyu40.DRESSER)
    body, handle = materials.wood(rng), materials.metal(rng)
    width, depth, height = rng.uniform(0.8, 1.3), rng.uniform(0.42, 0.52), rng.uniform(0.75, 1.1)
    group.box((width, depth, height - 0.03), (0, 0, 0), body)
    group.box((width + 0.03, depth + 0.03, 0.03), (0, 0, height - 0.03), body)
    columns, rows = 1 if width < 0.95 else 2, int(rng.integers(3, 5))
    _fronts(rng, group, width - 0.04, height - 0.12, -depth / 2, 0.06, columns, rows, body, handle)
    things = [thing(rng) for thing in (props.vase, props.book_pile) if rng.random() < 0.6]
    if rng.random() < 0.4:
        things.insert(0, props.table_lamp(rng, lit))
    on_top(rng, group, width, depth, height, things)
    return group


def night_stand(rng: np.random.Generator, lit: bool) -> Group:
    """A night stand, often with a lamp."""
    group = Group()
    group.begin(Nyu40.NIGHT_STAND)
    body, handle = materials.wood(rng), materials.metal(rng)
    width, depth, height = rng.uniform(0.4, 0.52), rng.uniform(0.36, 0.42), rng.uniform(0.45, 0.6)
    group.box((width, depth, height - 0.1), (0, 0, 0.1), body)
    for side in (-1, 1):
        group.box((0.04, depth - 0.04, 0.1), (side * (width / 2 - 0.04), 0, 0), body)
    _fronts(rng, group, width - 0.04, height - 0.15, -depth / 2, 0.13, 1, 2, body, handle)
    things = [props.table_lamp(rng, lit)] if rng.random() < 0.75 else []
    if rng.random() < 0.5:
        things.append(props.book_pile(rng))
    on_top(rng, group, width, depth, height, things)
    return group


def bookshelf(rng: np.random.Generator) -> Group:
    """A case with rows of books."""
    group = Group()
    group.begin(Nyu40.BOOKSHELF)
    body = materials.wood(rng)
    width, depth, height, board = (
        rng.uniform(0.75, 1.2),
        rng.uniform(0.26, 0.34),
        rng.uniform(1.4, 2.1),
        0.025,
    )
    group.box((width, 0.012, height), (0, depth / 2 - 0.006, 0), body)
    for side in (-1, 1):
        group.box((board, depth, height), (side * (width - board) / 2, 0, 0), body)
    levels = int(rng.integers(4, 6))
    step = (height - board) / levels
    for level in range(levels + 1):
        group.box((width - 2 * board, depth, board), (0, 0, level * step), body)
    inner = width - 2 * board
    for level in range(levels):
        base, chance = level * step + board, rng.random()
        if chance < 0.75:
            length = inner * rng.uniform(0.4, 0.98)
            left = -inner / 2 if rng.random() < 0.6 else inner / 2 - length
            group.put(
                props.standing_books(rng, length, step - board - 0.02, depth - 0.06),
                (left, 0.02, base),
            )
        elif chance < 0.92:
            on_top(rng, group, inner, depth, base, [props.book_pile(rng), props.vase(rng)])
    return group


def wall_shelf(rng: np.random.Generator) -> Group:
    """One to three boards on a wall, with things on them."""
    group = Group()
    group.begin(Nyu40.SHELVES)
    body, width, depth = materials.wood(rng), rng.uniform(0.7, 1.3), rng.uniform(0.2, 0.26)
    levels = int(rng.integers(1, 4))
    for level in range(levels):
        group.box((width, depth, 0.025), (0, 0, 0.36 * level), body)
        for side in (-1, 1):
            group.box(
                (0.02, depth * 0.8, 0.09), (side * width * 0.38, 0.02, 0.36 * level - 0.09), body
            )
    for level in range(levels):
        base = 0.36 * level + 0.025
        if rng.random() < 0.7:
            length = width * rng.uniform(0.3, 0.6)
            group.put(
                props.standing_books(rng, length, 0.24, depth - 0.03), (-width / 2 + 0.03, 0, base)
            )
            group.put(props.vase(rng), (width / 2 - 0.2, 0, base))
        else:
            on_top(rng, group, width, depth + 0.1, base, [props.vase(rng), props.book_pile(rng)])
    return group


def rack(rng: np.random.Generator) -> Group:
    """An open rack of boards on posts, with boxes."""
    group = Group()
    group.begin(Nyu40.SHELVES)
    posts, boards = materials.metal(rng), materials.wood(rng)
    width, depth, height = rng.uniform(0.8, 1.2), rng.uniform(0.35, 0.45), rng.uniform(1.4, 1.9)
    for x in (-1, 1):
        for y in (-1, 1):
            group.box(
                (0.03, 0.03, height), (x * (width / 2 - 0.015), y * (depth / 2 - 0.015), 0), posts
            )
    levels = int(rng.integers(3, 6))
    for level in range(levels):
        base = 0.12 + level * (height - 0.15) / (levels - 1)
        group.box((width - 0.03, depth - 0.01, 0.025), (0, 0, base), boards)
    for level in range(levels - 1):
        base, space = (
            0.145 + level * (height - 0.15) / (levels - 1),
            (height - 0.15) / (levels - 1) - 0.05,
        )
        things = [
            props.cardboard_box(rng),
            props.book_pile(rng),
            props.vase(rng),
            props.cardboard_box(rng),
        ]
        fit = [thing for thing in things if thing.bounds()[1, 2] < space and rng.random() < 0.75]
        on_top(rng, group, width - 0.06, depth, base, fit)
    return group


def refridgerator(rng: np.random.Generator) -> Group:
    """A refrigerator with two doors."""
    group = Group()
    group.begin(Nyu40.REFRIDGERATOR)
    body, handle = materials.steel(rng), materials.metal(rng)
    width, depth, height = rng.uniform(0.6, 0.75), rng.uniform(0.6, 0.7), rng.uniform(1.6, 1.85)
    group.box((width, depth - 0.05, height), (0, 0.025, 0), body)
    split = height * rng.uniform(0.3, 0.65)
    for bottom, top in ((0.04, split - 0.01), (split, height)):
        group.box((width - 0.01, 0.05, top - bottom), (0, -depth / 2 + 0.025, bottom), body)
        group.box(
            (0.025, 0.04, min(0.4, 0.7 * (top - bottom))),
            (width / 2 - 0.06, -depth / 2 - 0.02, bottom + 0.1 * (top - bottom)),
            handle,
        )
    return group


def kitchen(rng: np.random.Generator, width: float) -> Group:
    """A row of base cabinets with a worktop and a sink, cabinets above, ``width`` metres wide."""
    group = Group()
    depth, height = 0.6, 0.9
    front, handle, body = materials.wood(rng), materials.metal(rng), materials.paint(rng, 'e8e6e0')
    group.begin(Nyu40.CABINET)
    group.box((width, depth - 0.04, height - 0.12), (0, 0.02, 0.08), body)
    group.box((width, depth - 0.12, 0.08), (0, 0.05, 0), materials.paint(rng, '2a2a2a'))
    _fronts(
        rng,
        group,
        width,
        0.17,
        -depth / 2 + 0.04,
        height - 0.22,
        max(2, round(width / 0.5)),
        1,
        front,
        handle,
    )
    _fronts(
        rng,
        group,
        width,
        height - 0.31,
        -depth / 2 + 0.04,
        0.08,
        max(2, round(width / 0.5)),
        1,
        front,
        handle,
    )
    group.begin(Nyu40.COUNTER)
    group.box((width + 0.02, depth + 0.02, 0.04), (0, 0, height - 0.04), materials.stone(rng))
    sink_x = rng.uniform(-0.25, 0.25) * width
    group.begin(Nyu40.SINK)
    steel = materials.metal(rng)
    group.box(
        (0.55, 0.42, 0.012),
        (sink_x, -0.03, height),
        materials.paint(rng, 'c4c7c9', gloss=0.5),
        casts=False,
    )
    group.box(
        (0.46, 0.33, 0.004),
        (sink_x, -0.03, height + 0.011),
        materials.paint(rng, '6f7274', gloss=0.3),
        casts=False,
    )
    group.cylinder((0.03, 0.03, 0.26), (sink_x, 0.21, height), steel)
    group.box((0.022, 0.18, 0.022), (sink_x, 0.13, height + 0.25), steel)
    if rng.random() < 0.8:
        group.begin(Nyu40.CABINET)
        bottom, tall = 1.42, rng.uniform(0.55, 0.75)
        group.box((width, 0.33, tall), (0, depth / 2 - 0.165, bottom), body)
        _fronts(
            rng,
            group,
            width,
            tall,
            depth / 2 - 0.33,
            bottom,
            max(2, round(width / 0.45)),
            1,
            front,
            handle,
        )
    side = -1 if sink_x > 0 else 1
    spot = Group()
    things = [
        thing(rng)
        for thing in (props.vase, props.vase, props.book_pile, props.vase)
        if rng.random() < 0.7
    ]
    on_top(rng, spot, width / 2 - 0.35, depth - 0.05, 0, things)
    group.put(spot, (side * width / 4 + side * 0.08, 0, height))
    return group
