"""One-to-one matching of boundary pixels."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit


def match_boundaries(
    pred: np.ndarray, truth: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pair predicted with true boundary pixels within ``radius``: as many pairs as possible, no
    pixel in two of them.

    The matching has maximum cardinality. It starts from the pairs that are nearest, in the order of
    their distance, and grows along shortest augmenting paths (Hopcroft and Karp, 1973, one path at
    a time), which never unmatch a pixel.

    Args:
        pred, truth: ``(H, W)`` bool.
        radius: largest distance between the centres of two paired pixels, in pixels.

    Returns:
        The matched pixels of ``pred`` and of ``truth``, ``(H, W)`` bool each, equally many.
    """
    pred, truth = (np.asarray(mask, bool) for mask in (pred, truth))
    if pred.shape != truth.shape or pred.ndim != 2:
        raise ValueError(
            f'match_boundaries: expected two maps (H, W) of one size, got {pred.shape} and '
            f'{truth.shape}.'
        )
    border, steps = _disc(float(radius))
    height, width = (side + 2 * border for side in pred.shape)
    from_pred = np.count_nonzero(pred) <= np.count_nonzero(truth)
    first, second = (
        np.pad(mask, border).ravel() for mask in ((pred, truth) if from_pred else (truth, pred))
    )
    matched = _match(first, second, steps[:, 0] * width + steps[:, 1])
    inner = slice(border, -border or None)
    maps = [side.reshape(height, width)[inner, inner] for side in matched]
    return (maps[0], maps[1]) if from_pred else (maps[1], maps[0])


@lru_cache(maxsize=32)
def _disc(radius: float) -> tuple[int, np.ndarray]:
    """The disc's half side, and its steps ``(K, 2)`` in y and x, nearest first."""
    border = int(radius)
    y, x = np.mgrid[-border : border + 1, -border : border + 1].reshape(2, -1)
    squared = y**2 + x**2
    order = np.argsort(squared, kind='stable')
    order = order[squared[order] <= radius**2]
    return border, np.stack([y[order], x[order]], axis=1)


@njit(cache=True, nogil=True)
def _match(
    first: np.ndarray, second: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of two flat masks, padded by the radius, the pixels that a maximum matching pairs. Fewer are
    set in ``first``.
    """
    starts = np.flatnonzero(first).astype(np.int32)
    partner_of_first = np.full(first.size, -1, np.int32)
    partner_of_second = np.full(first.size, -1, np.int32)

    # Nearest pairs first. One offset maps pixels to pixels one to one, so that its pairs cannot
    # conflict.
    num_free = starts.size
    free = starts.copy()
    for offset in offsets:
        kept = 0
        for index in range(num_free):
            a = free[index]
            b = a + offset
            if second[b] and partner_of_second[b] < 0:
                partner_of_first[a] = b
                partner_of_second[b] = a
            else:
                free[kept] = a
                kept += 1
        num_free = kept

    # The neighbours of a pixel are listed when a search first comes to it.
    list_start = np.full(first.size, -1, np.int32)
    list_end = np.empty(first.size, np.int32)
    lists = np.empty(max(16 * starts.size, offsets.size), np.int32)
    used = 0

    came_from = np.empty(first.size, np.int32)
    seen = np.zeros(first.size, np.bool_)
    seen_list = np.empty(starts.size + 1, np.int32)
    queue = np.empty(starts.size, np.int32)
    for index in range(num_free):
        root = free[index]
        queue[0] = root
        head, tail, num_seen = 0, 1, 0
        end = -1
        while head < tail and end < 0:
            a = queue[head]
            head += 1
            if list_start[a] < 0:
                if used + offsets.size > lists.size:
                    longer = np.empty(2 * lists.size, np.int32)
                    longer[:used] = lists[:used]
                    lists = longer
                list_start[a] = used
                for offset in offsets:
                    if second[a + offset]:
                        lists[used] = a + offset
                        used += 1
                list_end[a] = used
            for b in lists[list_start[a] : list_end[a]]:
                if seen[b]:
                    continue
                seen[b] = True
                seen_list[num_seen] = b
                num_seen += 1
                came_from[b] = a
                if partner_of_second[b] < 0:
                    end = b
                    break
                queue[tail] = partner_of_second[b]
                tail += 1
        if end < 0:
            # What a search saw that found no way out is a dead end for every later one, and stays
            # marked.
            continue
        while True:
            a = came_from[end]
            previous = partner_of_first[a]
            partner_of_first[a] = end
            partner_of_second[end] = a
            if a == root:
                break
            end = previous
        for b in seen_list[:num_seen]:
            seen[b] = False
    return partner_of_first >= 0, partner_of_second >= 0
