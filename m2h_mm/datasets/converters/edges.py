"""Edges from maps of ids."""

from __future__ import annotations

import numpy as np

from m2h_mm.tasks.edge.thinning import thin


def edges_from_ids(ids: np.ndarray) -> np.ndarray:
    """The boundaries between regions, one pixel wide.

    A pixel is marked where its id differs from that of the right or the lower neighbour, whatever
    the ids mean; the marks are thinned to convergence.

    Args:
        ids: ``(H, W)``, integers: instances, or classes.

    Returns:
        ``(H, W)`` uint8, 255 on a boundary, 0 elsewhere: what a file in ``edge/`` holds.
    """
    marked = np.zeros(ids.shape, bool)
    marked[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    marked[:-1] |= ids[:-1] != ids[1:]
    return thin(marked).astype(np.uint8) * 255
