"""How much depth changes from one frame to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from m2h_mm.geometry.warp import Warp
from m2h_mm.registry import METRICS
from m2h_mm.tasks.depth.measures import SMALLEST
from m2h_mm.tasks.pooled_metric import Statistics
from m2h_mm.tasks.stability import StabilityMetric, share


@METRICS.register_module('depth_stability')
class DepthStability(StabilityMetric):
    """Key ``<prefix>/change``: mean over the pixels of the relative difference, in percent, of
    their depth and what the map of the frame before says of it, moved into the current camera.

    Args:
        task, tolerance, depth, prefix: see
            :class:`~m2h_mm.tasks.stability.StabilityMetric`.
    """

    def change(self, previous: Tensor, current: Tensor, warp: Warp, seen: Tensor) -> Statistics:
        current = current.float().clamp(min=SMALLEST)
        change = (warp.depth(previous.float()) - current).abs() / current
        return dict(count=seen.sum(), total=torch.where(seen, change, 0.0).sum(dtype=torch.float64))

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return dict(change=share(statistics['total'], statistics['count']))
