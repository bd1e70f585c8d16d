"""The eight ways in which a stored image may lie, as EXIF numbers them."""

from __future__ import annotations

import numpy as np

# To: rows and columns change places; the step through the rows, the columns then.
_TURNS = {
    1: (False, 1, 1),
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}
ORIENTATIONS = tuple(_TURNS)
"""1 is upright, 6 has to be turned by 90 degrees to the right."""


def lies_on_its_side(orientation: int) -> bool:
    """Whether height and width change places."""
    return _TURNS[orientation][0]


def turn_upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """``(H, W, ...)`` as it is stored, turned as its EXIF orientation says."""
    transposed, rows, columns = _TURNS[orientation]
    if transposed:
        array = array.swapaxes(0, 1)
    return np.ascontiguousarray(array[::rows, ::columns])


def turned_axes(orientation: int) -> np.ndarray:
    """``(2, 2)``: how a direction (right, down) in the stored image stands in the upright one."""
    transposed, rows, columns = _TURNS[orientation]
    axes = np.eye(2)[::-1] if transposed else np.eye(2)
    return axes * np.array([[columns], [rows]])
