"""Boundary precision and recall: counts per threshold, and ODS, OIS and AP from their sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from m2h_mm.tasks.edge.boundary_matching import match_boundaries
from m2h_mm.tasks.edge.thinning import thin

# The columns of counts: matched and all true pixels, matched and all predicted pixels.
CNT_R, SUM_R, CNT_P, SUM_P = range(4)
INTERPOLATED = 100  # points between two thresholds, ends included


def boundary_counts(
    edges: np.ndarray,
    truths: Sequence[np.ndarray],
    thresholds: Sequence[float],
    max_dist: float,
    strict: bool = False,
    run: Callable[..., Iterable] = map,
) -> np.ndarray:
    """Counts of one image at every threshold. Those of several images add up.

    At each threshold the map is binarised and thinned, then matched one to one with each ground
    truth. With several ground truths (annotators), a predicted pixel counts as matched if any of
    them matches it, and the true pixels of all count: Martin, Fowlkes and Malik, TPAMI 2004, as in
    the BSDS benchmark.

    Args:
        edges: ``(H, W)`` strengths in [0, 1].
        truths: ``(H, W)`` bool, one or more, already thin.
        thresholds: ascending.
        max_dist: largest distance of a pair, as a share of the image's diagonal.
        strict: an edge is stronger than the threshold (``>``) instead of at least as strong
            (``>=``).
        run: maps a function over the distinct binary maps; ``ThreadPoolExecutor.map`` uses several
            cores.

    Returns:
        ``(T, 4)`` int64: ``cntR``, ``sumR`` (matched and all true pixels), ``cntP``, ``sumP``
        (matched and all predicted pixels).
    """
    edges = np.asarray(edges, np.float64)
    radius = max_dist * np.hypot(*edges.shape)
    above = np.greater if strict else np.greater_equal

    def count(threshold: float) -> tuple[int, int, int, int]:
        predicted = thin(above(edges, threshold))
        matched = np.zeros(edges.shape, bool)
        recalled = 0
        for truth in truths:
            matched_pred, matched_truth = match_boundaries(predicted, truth, radius)
            matched |= matched_pred
            recalled += np.count_nonzero(matched_truth)
        return (
            recalled,
            sum(map(np.count_nonzero, truths)),
            np.count_nonzero(matched),
            np.count_nonzero(predicted),
        )

    # The binary maps of ascending thresholds are nested: equally large ones are equal, and need to
    # be counted once.
    thresholds = np.asarray(thresholds, np.float64)
    values = np.sort(edges, axis=None)
    below = np.searchsorted(values, thresholds, side='right' if strict else 'left')
    _, first, inverse = np.unique(below, return_index=True, return_inverse=True)
    return np.array(list(run(count, thresholds[first])), np.int64)[inverse]


def best_counts(counts: np.ndarray) -> np.ndarray:
    """Of an image's counts ``(T, 4)`` those at its own best threshold, ``(4,)``. They add up over
    images to OIS.
    """
    return counts[f_measure(*precision_recall(counts)).argmax()]


def precision_recall(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall ``(...)`` of counts ``(..., 4)``.

    Where nothing is predicted, precision is 1 and recall 0; where there is nothing to find,
    precision is 0 and recall 1 (F is 0 either way). This is how the BSDS benchmark fills the ends
    of its curves.
    """
    counts = np.asarray(counts, np.float64)
    found, true, correct, predicted = np.moveaxis(counts, -1, 0)
    precision = np.where(predicted > 0, correct / np.maximum(predicted, 1), 1.0)
    recall = np.where(true > 0, found / np.maximum(true, 1), predicted > 0)
    return precision, recall


def f_measure(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Harmonic mean, 0 where both are 0."""
    total = precision + recall
    return 2 * precision * recall / np.where(total > 0, total, 1.0)


def boundary_measures(
    counts: np.ndarray, best: np.ndarray, interpolate: bool = False
) -> dict[str, float]:
    """ODS, OIS and AP of a data set, as fractions.

    Args:
        counts: ``(T, 4)``, :func:`boundary_counts` summed over the images, thresholds ascending.
        best: ``(4,)``, :func:`best_counts` summed over the images.
        interpolate: ODS also looks between neighbouring thresholds, where precision and recall are
            taken as linear.

    Returns:
        ``ods``, the best F at one threshold for all images; ``ois``, F at each image's own best
        threshold; ``ap``, the area under precision over recall, within the range of recall that was
        reached.
    """
    precision, recall = precision_recall(counts)
    p, r = precision, recall
    if interpolate and len(counts) > 1:
        weight = np.linspace(0, 1, INTERPOLATED)
        p, r = (weight * curve[1:, None] + (1 - weight) * curve[:-1, None] for curve in (p, r))
    return dict(
        ods=float(f_measure(p, r).max()),
        ois=float(f_measure(*precision_recall(best))),
        ap=average_precision(precision, recall),
    )


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Mean of precision at recall 0, 0.01, ..., 1, interpolated; 0 outside the range of recall, and
    for a single point.

    Of equal recalls the one at the lowest threshold, the first, counts. The sum is divided by 100,
    as in the BSDS benchmark.
    """
    recall, first = np.unique(recall, return_index=True)
    if len(recall) < 2:
        return 0.0
    return float(
        np.interp(np.arange(101) / 100, recall, precision[first], left=0, right=0).sum() / 100
    )


def segmentation_contour(labels: np.ndarray) -> np.ndarray:
    """The pixels of a label map ``(H, W)`` that differ from their right, lower or lower right
    neighbour, bool.

    This is how the edge evaluation of the multi-task literature makes its ground truth: it takes
    NYUD's edge images for label maps. A line of one pixel becomes a double line, which thinning
    then joins, up to a pixel away.
    """
    extended = np.pad(labels, ((0, 1), (0, 1)), mode='edge')
    here = extended[:-1, :-1]
    return (here != extended[:-1, 1:]) | (here != extended[1:, :-1]) | (here != extended[1:, 1:])
