"""How many edge pixels come and go from one frame to the next."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from m2h_mm.geometry.warp import TOLERANCE, Warp
from m2h_mm.registry import METRICS
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.edge.thinning import thin
from m2h_mm.tasks.pooled_metric import Statistics
from m2h_mm.tasks.stability import StabilityMetric, share


@METRICS.register_module('edge_stability')
class EdgeStability(StabilityMetric):
    """Key ``<prefix>/unmatched``: percent of the edge pixels of both frames without an edge pixel
    of the other frame nearby.

    Edges are thinned where the probability exceeds a threshold. Nearby is a simple distance: one
    pixel may have several partners.

    Args:
        task, tolerance, depth, prefix: see
            :class:`~m2h_mm.tasks.stability.StabilityMetric`.
        threshold: probability.
        max_dist: largest distance of partners as a share of the image's diagonal; 2 pixels where
            that is less, as a place in the frame before is rounded to a pixel.
    """

    def __init__(
        self,
        task: Task,
        tolerance: float = TOLERANCE,
        depth: str = 'gt_depth',
        threshold: float = 0.5,
        max_dist: float = 0.0075,
        prefix: str | None = None,
    ) -> None:
        super().__init__(task, tolerance, depth, prefix)
        self.threshold = threshold
        self.max_dist = max_dist

    def change(self, previous: Tensor, current: Tensor, warp: Warp, seen: Tensor) -> Statistics:
        edges, near = self._edges(current)
        edges_before, near_before = (warp.ids(mask) for mask in self._edges(previous))
        return dict(
            pixels=seen.sum(),
            count=(seen & edges).sum() + (seen & edges_before).sum(),
            unmatched=(seen & edges & ~near_before).sum() + (seen & edges_before & ~near).sum(),
        )

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['pixels'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return dict(unmatched=share(statistics['unmatched'], statistics['count']))

    def _edges(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """Thin edges, and the pixels near to one, ``(1, 1, H, W)`` bool."""
        lines = thin(probabilities[0, 0].detach().float().cpu().numpy() > self.threshold)
        distance = np.full(lines.shape, np.inf)
        if lines.any():
            distance = cv2.distanceTransform((~lines).astype(np.uint8), cv2.DIST_L2, 5)
        reach = max(2.0, self.max_dist * np.hypot(*lines.shape))
        return tuple(
            torch.from_numpy(mask)[None, None].to(probabilities.device)
            for mask in (lines, distance <= reach)
        )
