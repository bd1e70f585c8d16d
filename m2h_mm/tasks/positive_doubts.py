"""What looks wrong about a map of depth or disparity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from m2h_mm.tasks.doubt import Doubt

# Largest numbers of types in which maps are stored on their way to a file: what renderers and
# sensors write where there is nothing.
LIMITS = (np.iinfo(np.int16).max, np.iinfo(np.uint16).max, float(np.finfo(np.float16).max))
GAP = 3  # a largest number that is as many times the next one belongs to no surface
FEW, FEWEST = 1e-3, 3  # share of the pixels, but so many pixels always are few


def negative_numbers(stored: np.ndarray, advice: str) -> Iterator[Doubt]:
    """Negative numbers that are no sign for a missing value: several different ones.

    Args:
        stored: ``(H, W)``, what the file holds.
        advice: the way out.
    """
    negative = stored < 0  # infinity and NaN are no numbers
    negative &= np.isfinite(stored)
    if negative.any():
        several = stored[negative].min() < stored[negative].max()
        everything = not (stored > 0).any()
        yield Doubt(
            'nothing but negative numbers' if everything else 'negative numbers of several values',
            negative & several,
            certain=everything,
            advice=advice,
        )


def farthest_number(
    stored: np.ndarray, valid: np.ndarray, beyond: np.ndarray, invalid: str, unit: str | None
) -> Iterator[Doubt]:
    """A largest number that stands for no measurement, or for whatever a map was scaled to.

    Args:
        stored: ``(H, W)``, what the file holds.
        valid: ``(H, W)`` bool, where it was understood as a measurement.
        beyond: ``(H, W)`` bool, where that is more than a prediction can be.
        invalid: how to state that a number means nothing, with ``{}`` for it.
        unit: how to state the unit; None where it is.
    """
    numbers = stored[valid]
    if not numbers.size:
        return
    top = numbers.max()
    largest = float(top)
    # The shortest text that is the same number again in the type of the file.
    text = str(int(largest) if largest.is_integer() else top)
    others = numbers[numbers < largest]
    where = valid & (stored == largest)
    few = where.sum() <= max(FEWEST, FEW * where.size)
    alone = not others.size or largest >= GAP * float(others.max())
    is_limit = largest in LIMITS
    if (is_limit and (alone or not few)) or (alone and others.size and beyond[where].any()):
        remarkable = 'the largest number of a 16-bit type' if is_limit else 'far above all else'
        yield Doubt(
            f'{text}, {remarkable}, looks like a sign for no measurement',
            where,
            advice=f'If so: {invalid.format(f"[{text}]")}.',
        )
    elif is_limit and unit:
        yield Doubt(
            f'reaches {text}, the largest number of a 16-bit type: cut off, or scaled to it '
            'as relative or inverse depth is',
            where,
            advice=f'Expected are numbers of one unit in all files: {unit}.',
        )
    elif stored.dtype.kind == 'f' and largest == 1 and few:
        yield Doubt(
            'ends at exactly 1: scaled by its own largest number?',
            where,
            advice='Relative depth has no unit and differs from file to file; expected are numbers '
            'of one unit.',
        )
