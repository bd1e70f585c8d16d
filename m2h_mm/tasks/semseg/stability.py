"""How many pixels change their class from one frame to the next."""

from __future__ import annotations

from torch import Tensor

from m2h_mm.geometry.warp import Warp
from m2h_mm.registry import METRICS
from m2h_mm.tasks.pooled_metric import Statistics
from m2h_mm.tasks.stability import StabilityMetric, share


@METRICS.register_module('semseg_stability')
class SemsegStability(StabilityMetric):
    """Key ``<prefix>/flips``: percent of the pixels whose class none of the pixels around their
    place in the frame before had.

    The pixels around a place are up to four, as a place lies between pixels. Its nearest pixel
    alone would count about every second pixel along a border as flipped, that of true maps too.

    Args:
        task, tolerance, depth, prefix: see
            :class:`~m2h_mm.tasks.stability.StabilityMetric`.
    """

    def change(self, previous: Tensor, current: Tensor, warp: Warp, seen: Tensor) -> Statistics:
        around, weights = warp.surroundings(previous)
        kept = ((around == current[:, :, None]) & (weights > 0)).any(2)
        return dict(count=seen.sum(), flipped=(seen & ~kept).sum())

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return dict(flips=share(statistics['flipped'], statistics['count']))
