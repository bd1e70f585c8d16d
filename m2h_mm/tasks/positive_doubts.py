"""What looks wrong about a map of depth or disparity."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from m2h_mm.tasks.doubt import Doubt

# Largest numbers of types in which maps are stored on their way to a file: what renderers and
# sensors write where there is nothing.
LIMITS = (np.iinfo(np.int16).max, np.iinfo(np.uint16).max, float(np.finfo(np.float16).max))
# A largest number that is so many times the next one belongs to no surface, nor does a smallest one
# that is as many times below the next: a floor or wall fills what is between.
FAR, NEAR = 3, 30
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


def signs_for_nothing(
    stored: np.ndarray, valid: np.ndarray, beyond: np.ndarray, invalid: str
) -> Iterator[Doubt]:
    """A largest or smallest number that belongs to no surface and so stands for no measurement.

    Args:
        stored: ``(H, W)``, what the file holds.
        valid: ``(H, W)`` bool, where it was understood as a measurement.
        beyond: ``(H, W)`` bool, where that is more than a prediction can be.
        invalid: how to state that a number means nothing, with ``{}`` for it.
    """
    numbers = stored[valid]
    if not numbers.size:
        return
    top, bottom = numbers.max(), numbers.min()
    where = valid & (stored == top)
    others = numbers[numbers < top]
    alone = not others.size or float(top) >= FAR * float(others.max())
    few, is_limit = _few(where), float(top) in LIMITS
    far = alone and others.size and not few and beyond[where].any()
    if far or (is_limit and (alone or not few)):
        remarkable = 'the largest number of a 16-bit type' if is_limit else 'far above all else'
        yield _sign(top, remarkable, where, invalid)
    where = valid & (stored == bottom)
    others = numbers[numbers > bottom]
    if others.size and not _few(where) and float(bottom) * NEAR <= float(others.min()):
        yield _sign(bottom, 'far below all else', where, invalid)


def _sign(number: np.generic, remarkable: str, where: np.ndarray, invalid: str) -> Doubt:
    # The shortest text that is the same number again in the type of the file.
    text = str(int(number) if float(number).is_integer() else number)
    return Doubt(
        f'{text}, {remarkable}, looks like a sign for no measurement',
        where,
        advice=f'If so: {invalid.format(f"[{text}]")}.',
    )


def signs_of_scaling(stored: np.ndarray, valid: np.ndarray, unit: str) -> Iterator[Doubt]:
    """A few pixels with the largest number that a map can be scaled to, and others close to it.

    Args:
        stored, valid: as of :func:`signs_for_nothing`.
        unit: how to state the unit.
    """
    largest = float(stored[valid].max(initial=0))
    where = valid & (stored == largest)
    largest_of_type = np.iinfo(np.uint16).max
    scaled = largest == largest_of_type or (stored.dtype.kind == 'f' and largest == 1)
    if scaled and _few(where) and (stored[valid] > largest / FAR).sum() > where.sum():
        yield Doubt(
            f'ends at exactly {largest:g}: scaled to that, as relative or inverse depth is?',
            where,
            advice=f'Expected are numbers of one unit in all files: {unit}.',
        )


def _few(where: np.ndarray) -> bool:
    return bool(where.sum() <= max(FEWEST, FEW * where.size))
