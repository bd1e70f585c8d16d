"""Keys to the colours of a picture, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Tiles:
    """Colours with their meanings.

    Attributes:
        entries: colour and text of each tile, in order.
    """

    entries: tuple[tuple[RGB, str], ...]


# Arrays have no truth value when they are compared: a scale equals itself only.
@dataclass(frozen=True, eq=False)
class Scale:
    """A horizontal colour scale.

    Attributes:
        ramp: ``(N, 3)`` uint8 RGB, the colours from left to right, one for each pixel.
        ticks: position from 0 to 1 and text, from left to right. The first and the last are always
            written, the others where there is room.
    """

    ramp: np.ndarray
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, eq=False)
class Figure:
    """A small picture with tiles beside it.

    Attributes:
        picture: ``(h, w, 3)`` uint8 RGB on white.
        tiles: what some of its colours mean.
    """

    picture: np.ndarray
    tiles: Tiles


KeyBlock = Tiles | Scale | Figure


def round_numbers(low: float, high: float, count: int, steps: Sequence[float]) -> list[float]:
    """Round numbers between ``low`` and ``high``, without these two; none where they are equal.

    Args:
        low, high: the ends of a scale.
        count: intervals, at most.
        steps: lengths that an interval may have, from 1 to 10, times a power of ten.
    """
    # Matplotlib takes a second to import, which a program that draws nothing need not wait for.
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(count, steps=list(steps)).tick_values(low, high)
    return [tick for tick in ticks if low < tick < high]
