"""Rooms, and the places in them where somebody can be, from the ground plan of a mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from m2h_mm.mapping.mesh import Mesh
from m2h_mm.mapping.planes import Plane

CELL = 0.1
"""Of the ground plan, metres."""
_DOOR = 1.1
"""Openings of walls up to this width, metres, part two rooms."""
_LEAST_ROOM = 1.0  # square metre
_BODY = (0.15, 1.6)
"""Heights above the floor between which something is in the way, metres."""
_LOW = 0.6
"""Height above the floor, metres: what is seen through below is free, if nothing is in the way."""
_WALL_BAND = (1.0, 2.0)
"""Heights above the floor at which walls count: most furniture is lower."""
_SPACING, _NEIGHBOURS = 0.6, 1.3
"""Between places, and up to which two may be neighbours, metres."""


@dataclass
class MapRoom:
    """A room.

    Attributes:
        number: 0.. within the map.
        centre: (3,) middle of its floor plan, halfway up, metres.
        bounds: (2, 3) lower and upper corner, metres.
        area: of its floor plan, square metres.
    """

    number: int
    centre: np.ndarray
    bounds: np.ndarray
    area: float


@dataclass
class MapPlace:
    """A place on the floor that is free.

    Attributes:
        number: 0.. within the map.
        room: number of its room.
        position: (3,) metres, on the floor.
        clearance: to what is in the way, metres.
        neighbours: numbers of the places that a straight free way leads to.
    """

    number: int
    room: int
    position: np.ndarray
    clearance: float
    neighbours: list[int]


@dataclass
class FloorPlan:
    """The ground plan.

    Attributes:
        corner: (2,) x and y of the first cell's corner, metres.
        room_of: ``(X, Y)`` int, number of the room of each cell, -1 for none.
        free: ``(X, Y)`` bool, whether floor was seen there and nothing is in the way.
        rooms, places: see there.
    """

    corner: np.ndarray
    room_of: np.ndarray
    free: np.ndarray
    rooms: list[MapRoom]
    places: list[MapPlace]

    def room_at(self, position: np.ndarray) -> int:
        """Number of the nearest room to a point (x, y, ...), -1 where there is none at all."""
        cells = np.argwhere(self.room_of >= 0)
        if not len(cells):
            return -1
        at = (np.asarray(position)[:2] - self.corner) / CELL - 0.5
        nearest = cells[((cells - at) ** 2).sum(axis=1).argmin()]
        return int(self.room_of[tuple(nearest)])


def draw_floor_plan(
    mesh: Mesh, planes: list[Plane], owner: np.ndarray, seen: np.ndarray | None = None
) -> FloorPlan:
    """Part what is inside by walls, and find free places; z is up.

    Inside is every cell in which something was seen or seen through at some height. A room is a
    piece of it between walls; doorways of up to 1.1 m, open or not, end it. Free is where the floor
    or the space right above it was seen, and nothing is in the way. It is meant for single storeys.

    Args:
        mesh: the map.
        planes, owner: as of :func:`~m2h_mm.mapping.planes.find_planes`.
        seen: ``(N, 3)`` points that the camera has seen through, metres.
    """
    middles = mesh.points[mesh.triangles].mean(axis=1, dtype=np.float64)
    seen = np.zeros((0, 3)) if seen is None else np.asarray(seen, np.float64)
    if not len(middles):
        return FloorPlan(np.zeros(2), np.full((1, 1), -1), np.zeros((1, 1), bool), [], [])
    floors = [index for index, plane in enumerate(planes) if plane.kind == 'floor']
    on_floor = np.isin(owner, floors)
    level = float(np.median(middles[on_floor, 2])) if floors else float(middles[:, 2].min())
    ceilings = [plane.corners[:, 2].mean() for plane in planes if plane.kind == 'ceiling']
    heights = np.concatenate([middles[:, 2], seen[:, 2]])
    top = max(ceilings) if ceilings else float(np.percentile(heights, 99))
    above = seen[:, 2] - level
    seen, above = (array[(above > 0) & (seen[:, 2] < top)] for array in (seen, above))
    everything = np.concatenate([middles[:, :2], seen[:, :2]])
    corner = everything.min(axis=0) - 3 * CELL
    shape = tuple(np.ceil((np.ptp(everything, axis=0) + 6 * CELL) / CELL).astype(int))

    def count(points: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        x, y = ((points[:, :2] - corner) / CELL).astype(int).T
        flat = np.bincount(x * shape[1] + y, weights, minlength=shape[0] * shape[1])
        return flat.reshape(shape)

    height = middles[:, 2] - level
    walls = np.isin(owner, [i for i, plane in enumerate(planes) if plane.kind == 'wall'])
    standing = walls & (height > _WALL_BAND[0]) & (height < _WALL_BAND[1])
    wall = count(middles[standing], mesh.areas[standing]) > 0.1 * CELL
    inside = ndimage.binary_closing(count(middles) + count(seen) > 0, iterations=2)
    room_of, rooms = _part(inside & ~wall, corner, level, top)

    in_the_way = (height > _BODY[0]) & (height < _BODY[1])
    blocked = (count(middles[in_the_way]) > 0) | wall
    open_floor = count(middles[on_floor]) + count(seen[above < _LOW])
    free = ndimage.binary_closing(open_floor > 0, iterations=2) & ~blocked & (room_of >= 0)
    return FloorPlan(corner, room_of, free, rooms, _find_places(free, room_of, corner, level))


def _part(
    inside: np.ndarray, corner: np.ndarray, level: float, top: float
) -> tuple[np.ndarray, list[MapRoom]]:
    """Cells by room: the cores, which no doorway joins, grow back to the walls."""
    distance = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] * CELL
    least = _LEAST_ROOM / CELL**2
    cores, count = ndimage.label(distance > _DOOR / 2, np.ones((3, 3)))
    if not count:  # nothing is wide enough: a corridor
        cores, count = ndimage.label(inside, np.ones((3, 3)))
    pieces, _ = ndimage.label(inside)
    # What is nearest to a core by straight lines belongs to it, within one connected piece.
    nearest = ndimage.distance_transform_edt(
        cores == 0, return_distances=False, return_indices=True
    )
    grown = np.where(inside & (pieces == pieces[tuple(nearest)]), cores[tuple(nearest)], 0)
    room_of, rooms = np.full(inside.shape, -1), []
    sizes = np.bincount(grown.reshape(-1), minlength=count + 1)
    for number in 1 + np.argsort(-sizes[1:], kind='stable'):
        cells = np.argwhere(grown == number)
        if len(cells) < least:
            continue
        room_of[grown == number] = len(rooms)
        middle = corner + (cells.mean(axis=0) + 0.5) * CELL
        low, high = corner + cells.min(axis=0) * CELL, corner + (cells.max(axis=0) + 1) * CELL
        rooms.append(
            MapRoom(
                number=len(rooms),
                centre=np.array([*middle, (level + top) / 2]),
                bounds=np.array([[*low, level], [*high, top]]),
                area=float(len(cells) * CELL**2),
            )
        )
    return room_of, rooms


def _find_places(
    free: np.ndarray, room_of: np.ndarray, corner: np.ndarray, level: float
) -> list[MapPlace]:
    """The most open cells, each farther than the spacing from those before it."""
    clearance = ndimage.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1] * CELL
    cells = np.argwhere(free)
    cells = cells[np.argsort(-clearance[tuple(cells.T)], kind='stable')]
    places: list[MapPlace] = []
    chosen = np.zeros((0, 2))
    for cell in cells:
        at = corner + (cell + 0.5) * CELL
        if len(chosen) and np.linalg.norm(chosen - at, axis=1).min() < _SPACING:
            continue
        chosen = np.concatenate([chosen, at[None]])
        places.append(
            MapPlace(
                number=len(places),
                room=int(room_of[tuple(cell)]),
                position=np.array([*at, level]),
                clearance=float(clearance[tuple(cell)]),
                neighbours=[],
            )
        )
    for first in places:
        for second in places[: first.number]:
            way = second.position[:2] - first.position[:2]
            length = float(np.linalg.norm(way))
            if length > _NEIGHBOURS:
                continue
            steps = np.linspace(0, 1, int(length / CELL * 2) + 2)[:, None]
            on_way = ((first.position[:2] + steps * way - corner) / CELL).astype(int)
            if free[tuple(on_way.T)].all():
                first.neighbours.append(second.number)
                second.neighbours.append(first.number)
    return places
