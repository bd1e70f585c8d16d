"""Furniture to sit, lie and work on.

Every function returns a new :class:`Group`, its back towards +y.
"""

from __future__ import annotations

import numpy as np

from m2h_mm.rooms import materials, props
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.primitives import Group


def add_legs(
    group: Group, width, depth, height, thick, material, taper: float = 0.0, inset: float = 0.03
) -> None:
    x, y = width / 2 - inset - thick / 2, depth / 2 - inset - thick / 2
    for side in (-1, 1):
        for end in (-1, 1):
            at = (side * x, end * y, 0)
            if taper:
                group.cylinder((thick, thick, height), at, material, taper=taper)
            else:
                group.box((thick, thick, height), at, material)


def chair(rng: np.random.Generator, frame=None, seat=None) -> Group:
    """A chair with four legs and a slatted or solid back; pass materials to make a set."""
    group = Group()
    group.begin(Nyu40.CHAIR)
    frame, seat = frame or materials.wood(rng), seat or materials.fabric(rng)
    width, depth, height = rng.uniform(0.4, 0.48), rng.uniform(0.4, 0.46), rng.uniform(0.43, 0.47)
    back = rng.uniform(0.4, 0.55)
    add_legs(group, width, depth, height, 0.04, frame, inset=0.0)
    group.box((width, depth, 0.035), (0, 0, height - 0.035), frame)
    group.box((width - 0.02, depth - 0.04, 0.04), (0, -0.01, height), seat)
    lean, post = rng.uniform(0.08, 0.18), 0.035
    at_y = depth / 2 - 0.02 + 0.5 * back * np.sin(lean)
    for side in (-1, 1):
        group.box((post, post, back), (side * (width - post) / 2, at_y, height), frame, tilt=-lean)
    if rng.random() < 0.5:
        for rail in np.linspace(0.3, 0.85, 3):
            at = (0, depth / 2 - 0.02 + rail * back * np.sin(lean), height + rail * back)
            group.box((width - post, 0.02, 0.08), at, frame, tilt=-lean)
    else:
        group.box(
            (width - post, 0.03, back * 0.7),
            (0, at_y + 0.1 * back * np.sin(lean), height + back * 0.28),
            seat,
            tilt=-lean,
        )
    return group


def office_chair(rng: np.random.Generator) -> Group:
    """A swivel chair on a star of five feet."""
    group = Group()
    group.begin(Nyu40.CHAIR)
    cloth, frame = materials.fabric(rng), materials.paint(rng, '26272a', gloss=0.2)
    for foot in range(5):
        angle = 2 * np.pi * foot / 5
        group.box(
            (0.3, 0.045, 0.04), (0.15 * np.cos(angle), 0.15 * np.sin(angle), 0.05), frame, yaw=angle
        )
        group.ellipsoid((0.06, 0.06, 0.06), (0.28 * np.cos(angle), 0.28 * np.sin(angle), 0), frame)
    group.cylinder((0.06, 0.06, 0.32), (0, 0, 0.08), frame)
    group.box((0.5, 0.48, 0.09), (0, 0, 0.4), cloth)
    group.box((0.06, 0.03, 0.25), (0, 0.25, 0.42), frame)
    group.box((0.46, 0.07, rng.uniform(0.45, 0.65)), (0, 0.27, 0.58), cloth, tilt=-0.12)
    if rng.random() < 0.6:
        for side in (-1, 1):
            group.box((0.04, 0.04, 0.2), (side * 0.26, 0.02, 0.45), frame)
            group.box((0.06, 0.26, 0.03), (side * 0.26, 0, 0.65), frame)
    return group


def stool(rng: np.random.Generator) -> Group:
    """A round stool."""
    group = Group()
    group.begin(Nyu40.CHAIR)
    height, frame = rng.uniform(0.45, 0.7), materials.wood(rng)
    group.cylinder((0.36, 0.36, 0.05), (0, 0, height - 0.05), frame)
    add_legs(group, 0.34, 0.34, height - 0.05, 0.035, frame, taper=0.1)
    return group


def sofa(rng: np.random.Generator, seats: int | None = None) -> Group:
    """A sofa (or an armchair, with one seat) with cushions."""
    group = Group()
    seats = int(rng.integers(2, 4)) if seats is None else seats
    group.begin(Nyu40.SOFA if seats > 1 else Nyu40.CHAIR)
    cloth, legs = materials.fabric(rng), materials.wood(rng)
    seat, arm, depth = rng.uniform(0.6, 0.72), rng.uniform(0.12, 0.22), rng.uniform(0.82, 0.95)
    height, back, side = rng.uniform(0.26, 0.32), rng.uniform(0.72, 0.9), rng.uniform(0.52, 0.64)
    width = seats * seat + 2 * arm
    add_legs(group, width, depth, 0.08, 0.05, legs, inset=0.02)
    group.box((width, depth, height - 0.06), (0, 0, 0.06), cloth)
    group.box((width - 0.01, 0.2, back - height), (0, depth / 2 - 0.1, height), cloth)
    for end in (-1, 1):
        at_x = end * (width - arm) / 2
        group.box((arm, depth - 0.01, side - height), (at_x, 0, height), cloth)
        if rng.random() < 0.5:
            group.cylinder(
                (arm + 0.03, 0.12, depth), (at_x, 0, side - depth / 2), cloth, tilt=np.pi / 2
            )
    for index in range(seats):
        at_x = (index - (seats - 1) / 2) * seat
        group.box((seat - 0.015, depth - 0.22, 0.15), (at_x, -0.1, height), cloth)
        group.box(
            (seat - 0.02, 0.16, back - height - 0.12),
            (at_x, depth / 2 - 0.26, height + 0.15),
            cloth,
            tilt=-0.15,
        )
    for end in (-1, 1):
        if rng.random() < 0.6:
            at = (end * (width / 2 - arm - 0.3), depth / 2 - 0.48, height + 0.15)
            group.put(props.pillow(rng), at, yaw=rng.normal(0, 0.25))
    return group


def bed(rng: np.random.Generator) -> Group:
    """A single or double bed with a blanket and pillows; the head is at +y."""
    group = Group()
    group.begin(Nyu40.BED)
    double = rng.random() < 0.6
    width, length = (
        (rng.uniform(1.4, 1.8) if double else rng.uniform(0.9, 1.1)),
        rng.uniform(1.95, 2.1),
    )
    frame, sheet, cover = materials.wood(rng), materials.linen(rng), materials.linen(rng)
    base, thick = rng.uniform(0.26, 0.34), rng.uniform(0.16, 0.24)
    group.box((width, length - 0.05, 0.14), (0, 0, base - 0.1), frame)
    add_legs(group, width, length - 0.05, base - 0.1, 0.07, frame, inset=0.01)
    head = materials.fabric(rng) if rng.random() < 0.4 else frame
    group.box((width + 0.06, 0.07, rng.uniform(0.8, 1.15)), (0, length / 2 - 0.03, 0), head)
    if rng.random() < 0.4:
        group.box((width + 0.04, 0.05, base + thick + 0.08), (0, -length / 2 + 0.03, 0), frame)
    group.box((width - 0.04, length - 0.16, thick), (0, 0, base), sheet)
    top = base + thick
    reach = rng.uniform(0.55, 0.75) * length
    group.box(
        (width + 0.02, reach, thick * 0.9 + 0.03),
        (0, -length / 2 + 0.09 + reach / 2, top - thick * 0.9),
        cover,
    )
    group.box(
        (width + 0.03, 0.22, 0.06), (0, -length / 2 + 0.02 + reach, top), materials.linen(rng)
    )
    for side in (-1, 1) if double else (0,):
        group.put(
            props.flat_pillow(rng),
            (side * width * 0.24, length / 2 - 0.34, top),
            yaw=rng.normal(0, 0.08),
        )
    if rng.random() < 0.35:
        group.put(
            props.pillow(rng), (rng.normal(0, 0.1), length / 2 - 0.55, top), yaw=rng.normal(0, 0.15)
        )
    if rng.random() < 0.2:
        group.put(props.clothes(rng), (width * rng.uniform(-0.3, 0.3), -length * 0.3, top + 0.03))
    return group


def on_top(
    rng: np.random.Generator, group: Group, width: float, depth: float, height: float, things: list
) -> None:
    """Stand each of ``things`` (groups) somewhere of its own on a top of ``width`` x ``depth`` at
    ``height``.
    """
    taken: list[np.ndarray] = []
    for thing in things:
        lower, upper = thing.bounds()[:, :2]
        room = (np.array([width, depth]) - (upper - lower)) / 2 - 0.01
        if (room < 0).any():
            continue
        for _ in range(12):
            at = rng.uniform(-room, room) - (lower + upper) / 2
            box = np.array([lower + at, upper + at])
            if all((box[0] > other[1]).any() or (box[1] < other[0]).any() for other in taken):
                taken.append(box)
                group.put(thing, (*at, height))
                break


def dining(rng: np.random.Generator) -> Group:
    """A table, rectangular or round, with chairs around it."""
    group = Group()
    group.begin(Nyu40.TABLE)
    top, height = materials.wood(rng), rng.uniform(0.71, 0.77)
    round_ = rng.random() < 0.3
    width = rng.uniform(0.95, 1.25) if round_ else rng.uniform(1.1, 1.8)
    depth = width if round_ else rng.uniform(0.75, 0.95)
    if round_:
        group.cylinder((width, depth, 0.035), (0, 0, height - 0.035), top)
        group.cylinder((0.1, 0.1, height - 0.06), (0, 0, 0.03), top)
        group.cylinder((0.55, 0.55, 0.04), (0, 0, 0), top, taper=-0.2)
    else:
        group.box((width, depth, 0.035), (0, 0, height - 0.035), top)
        group.box((width - 0.2, depth - 0.2, 0.08), (0, 0, height - 0.115), top)
        add_legs(group, width, depth, height - 0.035, rng.uniform(0.05, 0.08), top)
    frame, seat = materials.wood(rng), materials.fabric(rng)
    places = [(0, -1), (0, 1)]
    if not round_ and width > 1.35:
        places = [(-0.24, -1), (0.24, -1), (-0.24, 1), (0.24, 1)]
    for along, side in places:
        if rng.random() < 0.9:
            at = (along * width, side * (depth / 2 + rng.uniform(0.06, 0.28)), 0)
            group.put(
                chair(rng, frame, seat), at, yaw=(0 if side > 0 else np.pi) + rng.normal(0, 0.12)
            )
    for side in (-1, 1):
        if rng.random() < 0.5:
            at = (side * (width / 2 + rng.uniform(0.08, 0.28)), 0, 0)
            group.put(chair(rng, frame, seat), at, yaw=-side * np.pi / 2 + rng.normal(0, 0.12))
    things = [
        thing(rng)
        for thing in (props.vase, props.paper, props.book_pile, props.vase)
        if rng.random() < 0.5
    ]
    on_top(
        rng,
        group,
        width * (0.65 if round_ else 0.9),
        depth * (0.65 if round_ else 0.85),
        height,
        things,
    )
    return group


def coffee_table(rng: np.random.Generator) -> Group:
    """A low table."""
    group = Group()
    group.begin(Nyu40.TABLE)
    top, height = materials.wood(rng), rng.uniform(0.36, 0.46)
    if rng.random() < 0.3:
        width = depth = rng.uniform(0.65, 0.9)
        group.cylinder((width, width, 0.03), (0, 0, height - 0.03), top)
        add_legs(group, width * 0.7, width * 0.7, height - 0.03, 0.04, top, taper=0.2)
        width, depth = width * 0.7, depth * 0.7
    else:
        width, depth = rng.uniform(0.85, 1.25), rng.uniform(0.5, 0.65)
        group.box((width, depth, 0.035), (0, 0, height - 0.035), top)
        add_legs(group, width, depth, height - 0.035, 0.05, top)
        if rng.random() < 0.5:
            group.box((width - 0.1, depth - 0.1, 0.02), (0, 0, 0.12), top)
    things = [
        thing(rng) for thing in (props.vase, props.book_pile, props.paper) if rng.random() < 0.65
    ]
    on_top(rng, group, width * 0.9, depth * 0.9, height, things)
    return group


def desk(rng: np.random.Generator, lit: bool) -> Group:
    """A desk with a chair before it and things on it."""
    group = Group()
    group.begin(Nyu40.DESK)
    top, front = materials.wood(rng), materials.wood(rng)
    width, depth, height = rng.uniform(1.1, 1.6), rng.uniform(0.6, 0.75), rng.uniform(0.71, 0.76)
    group.box((width, depth, 0.03), (0, 0, height - 0.03), top)
    if rng.random() < 0.6:
        side = rng.choice([-1, 1])
        group.box((0.4, depth - 0.06, height - 0.09), (side * (width / 2 - 0.22), 0.01, 0.06), top)
        for drawer in range(3):
            at = (side * (width / 2 - 0.22), -depth / 2 + 0.03, 0.09 + drawer * 0.2)
            group.box((0.36, 0.02, 0.185), at, front, casts=False)
            group.box(
                (0.12, 0.02, 0.015),
                (at[0], at[1] - 0.015, at[2] + 0.1),
                materials.metal(rng),
                casts=False,
            )
        group.box((0.04, depth - 0.06, height - 0.03), (-side * (width / 2 - 0.04), 0, 0), top)
        chair_x = -side * 0.18
    else:
        add_legs(
            group,
            width,
            depth,
            height - 0.03,
            0.05,
            materials.metal(rng) if rng.random() < 0.5 else top,
        )
        chair_x = rng.uniform(-0.2, 0.2)
    seat = office_chair(rng) if rng.random() < 0.6 else chair(rng)
    group.put(
        seat, (chair_x, -depth / 2 - rng.uniform(0.05, 0.3), 0), yaw=np.pi + rng.normal(0, 0.35)
    )
    things = [props.monitor(rng)] if rng.random() < 0.7 else []
    if rng.random() < 0.6:
        things.append(props.table_lamp(rng, lit))
    things += [
        thing(rng) for thing in (props.paper, props.book_pile, props.vase) if rng.random() < 0.6
    ]
    on_top(rng, group, width, depth, height, things)
    return group
