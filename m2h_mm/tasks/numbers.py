"""Maps of numbers, and how the number 1 of a file is stated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

SMALLEST, LARGEST = 1e-9, 1e4  # of what 1 in a file stands for, metres or pixels


def equals_any(stored: np.ndarray, numbers: Sequence[float]) -> np.ndarray:
    """``(H, W)`` or ``(H, W, 3)`` bool, where a file holds one of some numbers."""
    found = np.zeros(stored.shape, bool)
    with np.errstate(over='ignore'):  # such as 1e10 in float16, which becomes infinity
        for number in numbers:
            found |= stored == number
    return found


def magnitude(stored: np.ndarray) -> float:
    """The largest absolute value of finite numbers."""
    return max(float(stored.max(initial=0)), -float(stored.min(initial=0)))


def to_float32(stored: np.ndarray) -> np.ndarray:
    """As float32; what is too large for it becomes infinity."""
    with np.errstate(over='ignore'):
        return stored.astype(np.float32)


def parse_scale(key: str, value: Any, names: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """What 1 in a file stands for, as a factor and a divisor: of '1/256' the divisor is exact, the
    quotient need not be.

    Args:
        key: for the message.
        value: a number, a fraction in text, or a name.
        names: name to factor and divisor.

    Raises:
        ValueError: anything else, or no plausible number.
    """
    if isinstance(value, str) and value in names:
        return names[value]
    try:
        above, _, below = value.partition('/') if isinstance(value, str) else (value, '', '')
        scale = float(above), float(below or 1)
    except (TypeError, ValueError, OverflowError):
        scale = (math.nan, 1.0)
    plausible = all(0 < part < math.inf for part in scale) and SMALLEST <= scale[0] / scale[1]
    if not plausible or scale[0] / scale[1] > LARGEST or isinstance(value, bool):
        raise ValueError(
            f'{key}: expected what 1 in a file stands for: '
            f'{"".join(f"{name!r}, " for name in names)}a number from {SMALLEST:g} to {LARGEST:g}, '
            f"or a fraction such as '1/256'; got {value!r}."
        )
    return scale


def parse_numbers(key: str, value: Any) -> tuple[float, ...]:
    """One number or several.

    Raises:
        ValueError: anything else.
    """
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not all(isinstance(number, Real) and not isinstance(number, bool) for number in numbers):
        raise ValueError(f'{key}: expected a number or a list of numbers, got {value!r}.')
    return numbers
