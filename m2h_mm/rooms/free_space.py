"""Where in a room somebody with a camera can stand, and ways from there to elsewhere."""

from __future__ import annotations

import cv2
import numpy as np

from m2h_mm.rooms.room import Room

CELL = 0.05
"""Side of a cell of the map, metres."""
STEP_OVER = 0.3
"""What ends below that height is stepped over, metres."""
ABOVE = 0.25
"""What begins so far above the camera is walked under, metres."""
REACH = 0.3
"""Wished distance of the camera from what it could run into, metres."""


class FreeSpace:
    """A map of the room's floor, seen from above.

    Things stand in the way of a body from the knees to the camera. Where they leave no space at
    all, only those stand in the way that the camera itself would meet: it is held out over the
    furniture then.

    Args:
        room: the room.
        eye: height of the camera, metres.

    Attributes:
        origin: (2,) world position of the first cell's centre, metres.
        clearance: (X, Y) float32, distance from each cell's centre to the nearest obstacle, metres.
        cells: (N, 2) int, the largest connected part of the cells that are :data:`REACH` away from
            everything; at least one cell.
    """

    def __init__(self, room: Room, eye: float) -> None:
        shape = np.ceil(room.size[:2] / CELL).astype(int)
        self.origin = -room.size[:2] / 2 + CELL / 2
        boxes = np.array(room.solids + room.loose)
        ahead = boxes[boxes[:, 0, 2] < eye + ABOVE]
        for bottom in (STEP_OVER, eye - REACH):
            obstacles = ahead[ahead[:, 1, 2] > bottom]
            self.clearance = self._measure(shape, obstacles[:, :, :2])
            self.cells = self._largest_part(self.clearance > REACH)
            if len(self.cells) * CELL**2 > 0.05:
                return
        if not len(self.cells):
            best = np.unravel_index(self.clearance.argmax(), shape)
            self.cells = np.array([best])

    def _measure(self, shape: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        free = np.zeros(shape + 2, np.uint8)
        free[1:-1, 1:-1] = 1  # the walls are around it
        for low, high in boxes:
            first, last = ((edge - self.origin) / CELL + 0.5 for edge in (low, high))
            first, last = np.maximum(np.floor(first), 0), np.maximum(np.ceil(last), 0)
            (x0, y0), (x1, y1) = first.astype(int), last.astype(int)
            free[1 + x0 : 1 + x1, 1 + y0 : 1 + y1] = 0
        # To the nearest obstacle's cell centre, half a cell beyond its border.
        away = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        return np.maximum(away - 0.5, 0) * np.float32(CELL)

    @staticmethod
    def _largest_part(free: np.ndarray) -> np.ndarray:
        _, parts, stats, _ = cv2.connectedComponentsWithStats(free.astype(np.uint8), connectivity=4)
        if len(stats) == 1:
            return np.empty((0, 2), int)
        return np.argwhere(parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax())

    def place(self, cells: np.ndarray) -> np.ndarray:
        """(N, 2) world positions of cells (N, 2), metres."""
        return self.origin + cells * CELL

    def clearance_at(self, points: np.ndarray) -> np.ndarray:
        """(N,) clearance of points (N, 2), that of the cell which they are in; metres."""
        cells = np.round((points - self.origin) / CELL).astype(int)
        cells = np.clip(cells, 0, np.array(self.clearance.shape) - 1)
        return self.clearance[cells[:, 0], cells[:, 1]]

    def ways_from(self, cell: np.ndarray) -> Ways:
        """The ways from a cell of :attr:`cells` to all others."""
        return Ways(self, cell)


class Ways:
    """Ways from one cell to all others, short ones that keep away from obstacles.

    Attributes:
        length: (N,) of the way to each of the space's cells, metres that count more where it is
            narrow.
    """

    def __init__(self, space: FreeSpace, start: np.ndarray) -> None:
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import dijkstra

        cells, self._space = space.cells, space
        number = np.full(np.array(space.clearance.shape) + 1, -1)
        number[cells[:, 0], cells[:, 1]] = np.arange(len(cells))
        cost = CELL * (1 + 0.3 / space.clearance[cells[:, 0], cells[:, 1]])
        rows, columns, weights = [], [], []
        for step in ((1, 0), (0, 1), (1, 1), (1, -1)):
            other = number[cells[:, 0] + step[0], cells[:, 1] + step[1]]
            here = np.flatnonzero(other >= 0)
            rows.append(here)
            columns.append(other[here])
            weights.append((cost[here] + cost[other[here]]) / 2 * np.hypot(*step))
        graph = coo_matrix(
            (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))),
            shape=(len(cells), len(cells)),
        ).tocsr()
        self.length, self._before = dijkstra(
            graph, directed=False, indices=number[tuple(start)], return_predecessors=True
        )

    def to(self, index: int) -> np.ndarray:
        """(M, 2) the cells on the way to ``cells[index]``, the start first."""
        way = [index]
        while (index := self._before[index]) >= 0:
            way.append(index)
        return self._space.cells[way[::-1]]
