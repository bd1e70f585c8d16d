"""How boundaries are scored: the protocols that published numbers follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from m2h_mm.tasks.edge.boundary import segmentation_contour
from m2h_mm.tasks.edge.suppression import suppress_non_maxima
from m2h_mm.tasks.edge.thinning import thin

NINETY_NINE = tuple(k / 100 for k in range(1, 100))
TRUTHS = ('edges', 'contour')


@dataclass(frozen=True)
class BoundaryProtocol:
    """Everything besides the data that a boundary score depends on.

    Attributes:
        name: of the preset it derives from.
        thresholds: ascending, in (0, 1).
        strict: an edge is stronger than the threshold (``>``) instead of at least as strong.
        suppress: non-maximum suppression before the thresholds.
        interpolate: ODS also looks between neighbouring thresholds.
        max_dist: largest distance between two matched pixels, as a share of the image's diagonal.
        truth: 'edges' takes the label's edge pixels as they are; 'contour' the thinned contour of
            the label, read as a segmentation.
    """

    name: str
    thresholds: tuple[float, ...]
    strict: bool
    suppress: bool
    interpolate: bool
    max_dist: float
    truth: str = 'edges'

    def prepare_edges(self, edges: np.ndarray) -> np.ndarray:
        """Predicted strengths ``(H, W)`` in [0, 1], as they meet the thresholds; rounded to 8 bits
        like a saved one.
        """
        edges = np.rint(np.asarray(edges, np.float64) * 255) / 255
        return suppress_non_maxima(edges) if self.suppress else edges

    def prepare_truth(self, label: np.ndarray) -> np.ndarray:
        """A label ``(H, W)``, 1 on edges, as the boundary to be found, bool."""
        return thin(segmentation_contour(label)) if self.truth == 'contour' else label == 1

    def thinned_out(self, num_thresholds: int) -> BoundaryProtocol:
        """The same with only so many of the thresholds, evenly spread. Its ODS and OIS are never
        higher.
        """
        total = len(self.thresholds)
        # The middle of each of the equal parts: the extreme thresholds are hardly ever the best.
        chosen = ((np.arange(num_thresholds) + 0.5) * total / num_thresholds).astype(int)
        return replace(self, thresholds=tuple(self.thresholds[index] for index in chosen))

    def __str__(self) -> str:
        return (
            f'{self.name}: {len(self.thresholds)} thresholds, {">" if self.strict else ">="}, '
            f'{"NMS" if self.suppress else "no NMS"}, max_dist {self.max_dist}, truth from '
            f'{self.truth}{", interpolated" if self.interpolate else ""}'
        )


PRESETS = {
    protocol.name: protocol
    for protocol in (
        BoundaryProtocol(
            'bsds', NINETY_NINE, strict=False, suppress=False, interpolate=True, max_dist=0.0075
        ),
        BoundaryProtocol(
            'mtl', NINETY_NINE, strict=False, suppress=False, interpolate=False, max_dist=0.0075
        ),
        BoundaryProtocol(
            'mtl-nms',
            (0.001, *NINETY_NINE, 0.999),
            strict=True,
            suppress=True,
            interpolate=False,
            max_dist=0.0075,
        ),
    )
}
"""
``bsds``: the benchmark of BSDS500 (Arbelaez, Maire, Fowlkes and Malik, TPAMI 2011), for edges that
are already thin ridges.

``mtl-nms``: what InvPT, TaskPrompter and MTMamba report. ``max_dist`` is 0.0075 on PASCAL-Context
and 0.011 on NYUD, where the truth is the 'contour' of the edge image.

``mtl``: what MTI-Net and ASTMT report: no suppression, so that thick predictions are only thinned.
"""
