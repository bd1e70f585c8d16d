"""What classes are in a room, by their names: floor, ceiling, walls, things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2h_mm.mapping.fusion_kernels import UNKNOWN

FLOOR = ('floor', 'floor mat', 'rug', 'carpet', 'ground', 'road', 'sidewalk')
CEILING = ('ceiling',)
WALL = ('wall', 'building', 'column', 'pillar')
ON_WALLS = (
    'window',
    'door',
    'picture',
    'blinds',
    'curtain',
    'shower curtain',
    'mirror',
    'whiteboard',
    'television',
)
"""What hangs on a wall or stands in it: a part of its plane, and a thing of its own."""
NO_THING = (*FLOOR, *CEILING, *WALL, 'other structure', 'sky', 'void', 'background')


class Roles:
    """Classes by what they are in a room.

    Args:
        names: of the classes, in the order of their numbers. Empty: not known, then no class is a
            floor, a wall or a thing, and planes are found by their shape.

    Attributes:
        names: as given.
        known: whether there are names.
        floor, ceiling, wall, thing: ``(256,)`` bool by class number; walls with what is on them.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = list(names)
        self.known = bool(names)
        plain = [str(name).lower().replace('_', ' ').replace('-', ' ') for name in names]
        self.floor, self.ceiling, self.wall, no_thing = (
            self._table([name in group for name in plain])
            for group in (FLOOR, CEILING, (*WALL, *ON_WALLS), NO_THING)
        )
        self.thing = self._table([True] * len(plain)) & ~no_thing

    def _table(self, members: list[bool]) -> np.ndarray:
        table = np.zeros(UNKNOWN + 1, bool)
        table[: len(members)] = members
        table[UNKNOWN] = False
        return table

    def name(self, number: int) -> str:
        """Of a class; its number where there is no name."""
        return self.names[number] if number < len(self.names) else f'class {number}'
