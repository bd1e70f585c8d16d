"""Morphological thinning."""

from __future__ import annotations

import numpy as np
from numba import njit

# The eight neighbours, east first, then counter-clockwise with y down: x1..x8 of Guo and Hall.
NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: np.ndarray) -> np.ndarray:
    """Thin to lines of one pixel: Guo and Hall, CACM 1989, the ``thin`` operation of MATLAB's
    ``bwmorph``, n = Inf.

    Two sub-iterations in turn each delete at once all pixels that meet their conditions, until both
    delete nothing.

    Args:
        mask: ``(H, W)``, set where not 0; everything outside counts as not set.

    Returns:
        ``(H, W)`` bool.
    """
    padded = np.pad(np.asarray(mask) != 0, 1)
    _thin(padded.ravel(), padded.shape[1], DELETABLE, STEPS)
    return padded[1:-1, 1:-1]


def _deletable() -> np.ndarray:
    """``(2, 256)`` bool: whether each sub-iteration deletes a pixel whose neighbours x1..x8 are
    bits 0..7.
    """
    x = [None, *(np.arange(256) >> bit & 1 == 1 for bit in range(8))]
    x.append(x[1])
    crossings = sum((~x[2 * i - 1] & (x[2 * i] | x[2 * i + 1])).astype(int) for i in range(1, 5))
    n1 = sum((x[2 * k - 1] | x[2 * k]).astype(int) for k in range(1, 5))
    n2 = sum((x[2 * k] | x[2 * k + 1]).astype(int) for k in range(1, 5))
    common = (crossings == 1) & (np.minimum(n1, n2) >= 2) & (np.minimum(n1, n2) <= 3)
    first = ~((x[2] | x[3] | ~x[8]) & x[1])
    second = ~((x[6] | x[7] | ~x[4]) & x[5])
    return np.stack([common & first, common & second])


DELETABLE = _deletable()
STEPS = np.array(NEIGHBOURS)


@njit(cache=True, nogil=True)
def _thin(mask: np.ndarray, width: int, deletable: np.ndarray, steps: np.ndarray) -> None:
    # Only set pixels are looked at, and each keeps the bits of its neighbours up to date: a
    # sub-iteration is one look-up per pixel that is left.
    offsets = steps[:, 0] * width + steps[:, 1]
    left = np.flatnonzero(mask)
    neighbours = np.zeros(mask.size, np.uint8)
    for pixel in left:
        for bit in range(8):
            if mask[pixel + offsets[bit]]:
                neighbours[pixel] |= np.uint8(1 << bit)
    count = left.size
    deleted = np.empty(count, left.dtype)
    changed = True
    while changed:
        changed = False
        for sub_iteration in range(2):
            num_deleted, num_kept = 0, 0
            for index in range(count):
                pixel = left[index]
                if deletable[sub_iteration, neighbours[pixel]]:
                    deleted[num_deleted] = pixel
                    num_deleted += 1
                else:
                    left[num_kept] = pixel
                    num_kept += 1
            count = num_kept
            for index in range(num_deleted):
                pixel = deleted[index]
                mask[pixel] = False
                for bit in range(8):
                    # Seen from there, this pixel lies in the opposite direction.
                    neighbours[pixel + offsets[bit]] &= np.uint8(~(1 << (bit + 4) % 8) & 255)
            changed |= num_deleted > 0
