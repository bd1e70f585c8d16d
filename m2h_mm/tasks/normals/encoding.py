"""In which range of numbers a map holds the components of unit vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from m2h_mm.tasks.doubt import Doubt

# The ranges that are in use.
RANGES = ((-1, 1), (0, 1), (0, 255), (0, 65535), (-127, 127), (-32767, 32767))
UNIT_TOLERANCE = 0.1  # 8 bits change the length by 0.02 at most, JPEG by more
LOOSE_TOLERANCE = 0.25  # of what a network says before it is made unit
NEARLY_ALL, HALF, SOME = 0.9, 0.5, 0.1
STEPS = 7  # every so many-th vector tells the encoding


def default_range(dtype: np.dtype) -> tuple[float, float] | None:
    """The numbers that stand for -1 and 1 in a file of which nothing is stated, None where that
    says nothing.
    """
    if dtype.kind == 'f':
        return -1, 1
    return (0, np.iinfo(dtype).max) if dtype in (np.uint8, np.uint16) else None


def decode_range(numbers: np.ndarray, limits: Sequence[float]) -> None:
    """From the numbers of a file to components in -1..1, in place.

    Args:
        numbers: floating point, any shape.
        limits: the numbers that stand for -1 and 1.
    """
    low, high = limits
    if (low, high) == (-1, 1):
        return
    if low:
        numbers -= np.float32(low)
    numbers *= np.float32(2 / (high - low))
    numbers -= 1


def lengths(stored: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    """Lengths ``(...)`` float32 of ``stored (..., 3)``; what is missing, black or grey, is NaN."""
    planes = np.array(np.moveaxis(stored, -1, 0), np.float32, order='C')
    black = ~planes.any(axis=0)
    decode_range(planes, limits)
    found = np.sqrt((planes**2).sum(axis=0))
    found[black | (found < UNIT_TOLERANCE) | (found == np.inf)] = np.nan
    return found


def doubts_of_encoding(stored: np.ndarray, limits: Sequence[float], other: str) -> Iterator[Doubt]:
    """What the lengths of vectors tell.

    Args:
        stored: ``(H, W, 3)``, what the file holds.
        limits: the range in which it was read.
        other: how to state another range, with ``{}`` for it.
    """
    with np.errstate(over='ignore', invalid='ignore'):
        length = lengths(stored, limits)
        known = ~np.isnan(length)
        off = known & ~(np.abs(length - 1) <= UNIT_TOLERANCE)
        if off.sum() <= SOME * known.sum():
            return
        fitting = fitting_range(stored[known][::STEPS], limits)
    if fitting is not None and off.sum() > HALF * known.sum():
        low, high = fitting
        yield Doubt(
            f'no unit vectors if read from {limits[0]:g}..{limits[1]:g}, but from {low}..{high}',
            off,
            certain=True,
            advice=f'Say so: {other.format([low, high])}.',
        )
    else:
        yield Doubt('not unit vectors, which they are made when read', off)


def fitting_range(vectors: np.ndarray, read: Sequence[float] = ()) -> tuple[int, int] | None:
    """The range in which nearly all of ``vectors (N, 3)`` are unit vectors, other than that in
    which they were ``read``.
    """
    tolerance = UNIT_TOLERANCE if vectors.min(initial=0) < 0 else LOOSE_TOLERANCE
    for candidate in RANGES:
        if candidate == tuple(read):
            continue
        length = lengths(vectors, candidate)
        length = length[~np.isnan(length)]
        if len(length) and np.mean(np.abs(length - 1) <= tolerance) >= NEARLY_ALL:
            return candidate
    return None
