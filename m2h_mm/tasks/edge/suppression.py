"""Non-maximum suppression of edge maps."""

from __future__ import annotations

import numpy as np
from numba import njit

TRIANGLE = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
MARGIN = 1.01  # how much stronger than a pixel its neighbour must be to suppress it
BORDER = 5  # pixels over which the map fades out towards the border


def suppress_non_maxima(edges: np.ndarray) -> np.ndarray:
    """Keep the ridges of an edge map: pixels that no neighbour across the edge exceeds by more than
    a per cent.

    The suppression of the structured edge detector (Dollar and Zitnick, "Fast Edge Detection Using
    Structured Forests", TPAMI 2015) with radius 1, as the edge evaluation of the multi-task
    literature applies it. The map fades out to 0 over the 5 pixels along the border.

    Args:
        edges: ``(H, W)`` strengths in [0, 1].

    Returns:
        ``(H, W)`` float64: the strength where kept, else 0.
    """
    edges = np.asarray(edges, np.float64)
    height, width = edges.shape
    if min(edges.shape) < 2:
        return np.zeros_like(edges)
    orientation = edge_orientation(edges)
    kept = _suppress(edges, np.cos(orientation), np.sin(orientation))
    border = min(BORDER, width // 2, height // 2)
    return kept * _fade(height, border)[:, None] * _fade(width, border)


def edge_orientation(edges: np.ndarray) -> np.ndarray:
    """The direction across the edge at every pixel of ``(H, W)``, radians in [0, pi), from x
    (right) to y (down).
    """
    smooth = _smooth(_smooth(edges).T).T
    dx, dy = np.gradient(smooth, axis=1), np.gradient(smooth, axis=0)
    dxx, dxy, dyy = np.gradient(dx, axis=1), np.gradient(dy, axis=1), np.gradient(dy, axis=0)
    return np.arctan(dyy * np.sign(-dxy) / (dxx + 1e-5)) % np.pi


def _smooth(edges: np.ndarray) -> np.ndarray:
    """Filter the rows with the triangle, the map mirrored at its ends."""
    # One term after the other, which keeps rounding errors: on plateaus and along straight lines
    # they decide the sign of the mixed derivative. A symmetric sum such as SciPy's would cancel to
    # a sign of 0 there, which is no direction.
    reach = len(TRIANGLE) // 2
    padded = np.pad(edges, ((0, 0), (reach, reach)), mode='symmetric')
    smooth = np.zeros_like(edges)
    for position in reversed(range(len(TRIANGLE))):
        smooth += TRIANGLE[position] * padded[:, position : position + edges.shape[1]]
    return smooth


@njit(cache=True, nogil=True)
def _suppress(edges: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    height, width = edges.shape
    kept = np.zeros_like(edges)
    for row in range(height):
        for column in range(width):
            strength = edges[row, column]
            if strength == 0:
                continue
            is_maximum = True
            for side in (-1, 1):
                x = min(max(column + side * cos[row, column], 0), width - 1.001)
                y = min(max(row + side * sin[row, column], 0), height - 1.001)
                left, top = int(x), int(y)
                x -= left
                y -= top
                neighbour = (1 - y) * (
                    (1 - x) * edges[top, left] + x * edges[top, left + 1]
                ) + y * ((1 - x) * edges[top + 1, left] + x * edges[top + 1, left + 1])
                if MARGIN * strength < neighbour:
                    is_maximum = False
                    break
            if is_maximum:
                kept[row, column] = strength
    return kept


def _fade(length: int, border: int) -> np.ndarray:
    distance = np.minimum(np.arange(length), np.arange(length)[::-1])
    return np.minimum(distance, border) / border
