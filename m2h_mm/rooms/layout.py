"""Where things stand: a furnished room from a random generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from m2h_mm.rooms import fixtures, furniture, materials, props, storage
from m2h_mm.rooms.classes import Nyu40
from m2h_mm.rooms.primitives import SHELL, Group, Part

WALLS = range(4)
"""Walls at -x, +x, -y, +y, in the order of the room's first four primitives."""
_YAW = (np.pi / 2, -np.pi / 2, np.pi, 0.0)
_INWARD = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
_ALONG = np.array([[0.0, 1, 0], [0, -1, 0], [-1, 0, 0], [1, 0, 0]])
_GAP = 0.025


@dataclass
class Window:
    """Where daylight comes in: ``center`` (3,) of the pane, its half extents, and the wall's inward
    normal.
    """

    center: np.ndarray
    along: np.ndarray
    half_width: float
    half_height: float
    inward: np.ndarray


@dataclass
class Room:
    """A room, centred on the origin, its floor at z = 0.

    Attributes:
        size: (3,) metres.
        daylight: 0 (night) .. 1.
        group: all parts; instances 0, 1, 2 are the walls, the floor and the ceiling.
        solids: (2, 3) bounds of every piece of furniture and fixture; no two of them overlap.
        subjects: indices of the solids that a photographer would look at.
        reserved: (2, 3) bounds of space that stays empty (before doors and windows).
        windows: the windows.
    """

    size: np.ndarray
    daylight: float
    group: Group = field(default_factory=Group)
    solids: list[np.ndarray] = field(default_factory=list)
    subjects: list[int] = field(default_factory=list)
    reserved: list[np.ndarray] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)

    def is_free(self, bounds: np.ndarray) -> bool:
        """Whether a (2, 3) box lies in the room and meets neither a solid nor reserved space."""
        # Soft things sink in a little, which hides that they are ellipsoids.
        if (bounds[0] < [-self.size[0] / 2, -self.size[1] / 2, -0.06]).any() or (
            bounds[1] > [self.size[0] / 2, self.size[1] / 2, self.size[2] + 1e-6]
        ).any():
            return False
        return all(
            (bounds[0] >= other[1]).any() or (bounds[1] <= other[0]).any()
            for other in (*self.solids, *self.reserved)
        )

    def put(self, group: Group, at: Sequence[float], yaw: float, subject: bool = True) -> bool:
        """Place a group if its space is free; says whether it was."""
        bounds = turned(group.bounds(), yaw) + np.asarray(at)
        if not self.is_free(bounds):
            return False
        if subject:
            self.subjects.append(len(self.solids))
        self.solids.append(bounds)
        self.group.put(group, at, yaw)
        return True

    def at_wall(self, wall: int, shift: float, height: float = 0.0, gap: float = 0.0) -> np.ndarray:
        """(3,) point ``shift`` metres along a wall from its middle, ``gap`` from it."""
        reach = self.size[wall // 2] / 2
        return -_INWARD[wall] * (reach - gap) + _ALONG[wall] * shift + (0, 0, height)

    def put_at_wall(
        self,
        group: Group,
        wall: int,
        shift: float,
        height: float = 0.0,
        gap: float = _GAP,
        subject: bool = True,
    ) -> bool:
        """Place a group with its back to a wall."""
        back = group.bounds()[1, 1]
        return self.put(group, self.at_wall(wall, shift, height, gap + back), _YAW[wall], subject)

    def wall_length(self, wall: int) -> float:
        """Length of a wall, metres."""
        return self.size[1 - wall // 2]


def turned(bounds: np.ndarray, yaw: float) -> np.ndarray:
    """(2, 3) bounds of a box that is turned by ``yaw`` radians about z."""
    corners = np.array([[x, y] for x in bounds[:, 0] for y in bounds[:, 1]])
    cos, sin = np.cos(yaw), np.sin(yaw)
    corners = corners @ np.array([[cos, sin], [-sin, cos]])
    return np.array([[*corners.min(0), bounds[0, 2]], [*corners.max(0), bounds[1, 2]]])


def _try_walls(
    rng,
    room: Room,
    group: Group,
    walls: Sequence[int] = WALLS,
    height: float = 0.0,
    tries: int = 24,
    gap: float = _GAP,
    subject: bool = True,
) -> tuple[int, float] | None:
    """Place a group somewhere along one of the walls; returns (wall, shift), or None where there
    was no space.
    """
    half = np.ptp(group.bounds()[:, 0]) / 2
    for _ in range(tries):
        wall = int(rng.choice(walls))
        reach = room.wall_length(wall) / 2 - half - _GAP
        if reach > 0:
            # Most furniture stands in corners or touches a neighbour; a triangular spread to both
            # ends looks so.
            shift = (
                rng.uniform(-reach, reach) if rng.random() < 0.6 else reach * rng.choice([-1, 1])
            )
            if room.put_at_wall(group, wall, shift, height, gap, subject):
                return wall, shift
    return None


def _shell(rng, room: Room) -> None:
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
            yaw=_YAW[wall],
            casts=False,
        )
        if height > 2.5 and tall > 0.09:
            at = room.at_wall(wall, 0, height - 0.06, gap=0.03)
            trim.box(
                (room.wall_length(wall), 0.06, 0.06), at, surfaces[5], yaw=_YAW[wall], casts=False
            )
    group.parts.extend(trim.parts)


def _column(rng, room: Room) -> None:
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


def _windows(rng, room: Room, walls: Sequence[int]) -> None:
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
        room.windows.append(Window(center, _ALONG[wall], width / 2, height / 2, _INWARD[wall]))
        if chance >= 0.5 and rng.random() < 0.6:
            room.put_at_wall(fixtures.radiator(rng, width * 0.8), wall, shift, subject=False)
        front = turned(
            np.array([[-width / 2 - 0.1, -0.3, sill], [width / 2 + 0.1, 0, sill + height]]),
            _YAW[wall],
        )
        room.reserved.append(front + room.at_wall(wall, shift))


def _door(rng, room: Room, walls: Sequence[int]) -> None:
    leaf = fixtures.door(rng)
    placed = _try_walls(rng, room, leaf, walls, gap=0.0)
    if placed:
        wall, shift = placed
        before = turned(np.array([[-0.5, -0.85, 0], [0.5, 0, 2.0]]), _YAW[wall])
        room.reserved.append(before + room.at_wall(wall, shift))


def _bedroom(rng, room: Room, lit: bool) -> None:
    piece = furniture.bed(rng)
    placed = _try_walls(rng, room, piece, tries=60)
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
            _lay_rug(rng, room, at, _YAW[wall], 2.2, 1.4)
    options: list[Callable[[], Group]] = [
        lambda: storage.cupboard(rng),
        lambda: storage.dresser(rng, lit),
        lambda: furniture.desk(rng, lit),
        lambda: storage.bookshelf(rng),
        lambda: furniture.sofa(rng, seats=1),
        lambda: furniture.chair(rng),
    ]
    _furnish(rng, room, options, 2, 5)


def _living(rng, room: Room, lit: bool) -> None:
    piece = furniture.sofa(rng)
    placed = _try_walls(rng, room, piece, tries=60)
    if placed:
        wall, shift = placed
        opposite = wall ^ 1
        room.put_at_wall(storage.sideboard(rng, True), opposite, -shift + rng.normal(0, 0.15))
        table = furniture.coffee_table(rng)
        gap = np.ptp(piece.bounds()[:, 1]) + 0.3 + np.ptp(table.bounds()[:, 1]) / 2
        at = room.at_wall(wall, shift, gap=gap)
        if room.put(table, at, _YAW[wall]) and rng.random() < 0.8:
            _lay_rug(rng, room, at, _YAW[wall], 2.3, 1.6)
    options: list[Callable[[], Group]] = [
        lambda: storage.bookshelf(rng),
        lambda: furniture.sofa(rng, seats=1),
        lambda: storage.sideboard(rng, False),
        lambda: furniture.sofa(rng, seats=2),
        lambda: storage.rack(rng),
        lambda: storage.cupboard(rng),
        lambda: furniture.desk(rng, lit),
    ]
    _furnish(rng, room, options, 2, 5)


def _dining(rng, room: Room, lit: bool) -> None:
    for _ in range(8):
        if _put_middle(rng, room, furniture.dining(rng)):
            break
    options: list[Callable[[], Group]] = [
        lambda: storage.sideboard(rng, False),
        lambda: storage.cupboard(rng),
        lambda: storage.bookshelf(rng),
        lambda: storage.rack(rng),
        lambda: storage.dresser(rng, lit),
        lambda: furniture.chair(rng),
    ]
    _furnish(rng, room, options, 2, 5)


def _kitchen(rng, room: Room, lit: bool) -> None:
    wall = int(rng.integers(4))
    for _ in range(12):
        width = rng.uniform(1.6, min(3.2, room.wall_length(wall) - 0.3))
        if _try_walls(rng, room, storage.kitchen(rng, width), tries=12):
            break
    _try_walls(rng, room, storage.refridgerator(rng))
    for _ in range(6):
        if _put_middle(rng, room, furniture.dining(rng)):
            break
    options: list[Callable[[], Group]] = [
        lambda: storage.cupboard(rng),
        lambda: storage.rack(rng),
        lambda: furniture.stool(rng),
        lambda: storage.sideboard(rng, False),
    ]
    _furnish(rng, room, options, 1, 4)


def _office(rng, room: Room, lit: bool) -> None:
    _try_walls(rng, room, furniture.desk(rng, lit), tries=60)
    if rng.random() < 0.7:
        _try_walls(rng, room, fixtures.whiteboard(rng), height=rng.uniform(0.95, 1.1), gap=0.0)
    options: list[Callable[[], Group]] = [
        lambda: furniture.desk(rng, lit),
        lambda: storage.bookshelf(rng),
        lambda: storage.rack(rng),
        lambda: storage.cupboard(rng),
        lambda: furniture.sofa(rng),
        lambda: storage.sideboard(rng, False),
    ]
    _furnish(rng, room, options, 3, 6)


def _furnish(rng, room: Room, options: list[Callable[[], Group]], fewest: int, most: int) -> None:
    for index in rng.permutation(len(options))[: rng.integers(fewest, most + 1)]:
        _try_walls(rng, room, options[index]())


def _put_middle(rng, room: Room, group: Group) -> bool:
    at = (rng.uniform(-0.15, 0.15) * room.size[0], rng.uniform(-0.15, 0.15) * room.size[1], 0)
    yaw = rng.choice([0, np.pi / 2]) + (rng.normal(0, 0.1) if rng.random() < 0.3 else 0)
    placed = room.put(group, at, yaw)
    if placed and rng.random() < 0.4:
        _lay_rug(rng, room, np.array(at), yaw, 2.6, 2.0)
    return placed


def _lay_rug(rng, room: Room, at, yaw: float, width: float, depth: float) -> None:
    """A rug, which furniture may stand on."""
    size = rng.uniform(0.75, 1.1)
    group = fixtures.rug(rng, width * size, depth * size)
    bounds = turned(group.bounds(), yaw) + at
    if (np.abs(bounds[:, :2]) < room.size[:2] / 2 - 0.05).all():
        room.group.put(group, at, yaw)


def _decorate(rng, room: Room, lit: bool) -> None:
    for _ in range(rng.integers(1, 5)):
        width, height = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.75)
        at = rng.uniform(1.5, 1.75) - height / 2
        _try_walls(rng, room, fixtures.picture(rng, width, height), height=at, gap=0.0, tries=8)
    if rng.random() < 0.45:
        _try_walls(
            rng, room, storage.wall_shelf(rng), height=rng.uniform(1.2, 1.4), gap=0.0, tries=10
        )
    if rng.random() < 0.15:
        _try_walls(
            rng,
            room,
            props.television(rng, stand=False),
            height=rng.uniform(1.0, 1.2),
            gap=0.0,
            tries=10,
        )
    if rng.random() < 0.12:
        _try_walls(rng, room, fixtures.towel(rng), height=1.0, gap=0.0, tries=6)
    if rng.random() < 0.45:
        _try_walls(rng, room, fixtures.floor_lamp(rng, lit and rng.random() < 0.6), gap=0.08)
    if rng.random() < 0.5:
        _try_walls(rng, room, props.plant(rng, rng.uniform(0.6, 1.4)), gap=0.05)
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


def make_room(rng: np.random.Generator) -> Room:
    """A furnished bedroom, living room, dining room, kitchen or office."""
    size = np.array([rng.uniform(3.3, 5.6), rng.uniform(3.2, 5.0), rng.uniform(2.4, 2.9)])
    daylight = 0.0 if rng.random() < 0.2 else rng.uniform(0.35, 1.0)
    room = Room(size, daylight)
    _shell(rng, room)
    if rng.random() < 0.25:
        _column(rng, room)
    order = rng.permutation(4)
    _windows(rng, room, order[: rng.integers(1, 3)])
    _door(rng, room, order[1:])
    lit = daylight < 0.5 or rng.random() < 0.3
    furnish = (_bedroom, _living, _dining, _kitchen, _office)[
        rng.choice(5, p=(0.26, 0.28, 0.16, 0.14, 0.16))
    ]
    furnish(rng, room, lit)
    _decorate(rng, room, lit)
    lamp = fixtures.ceiling_lamp(rng, daylight < 0.3 or rng.random() < 0.5)
    for _ in range(8):
        if room.put(
            lamp, (*rng.normal(0, 0.3, 2), size[2]), rng.choice([0, np.pi / 2]), subject=False
        ):
            break
    return room
