"""How much normals turn from one frame to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from m2h_mm.geometry.warp import Warp
from m2h_mm.registry import METRICS
from m2h_mm.tasks.normals.measures import angular_error
from m2h_mm.tasks.pooled_metric import Statistics
from m2h_mm.tasks.stability import StabilityMetric, share


@METRICS.register_module('normals_stability')
class NormalsStability(StabilityMetric):
    """Key ``<prefix>/angle``: mean over the pixels of the angle, in degrees, between their normal
    and the one nearest to it among those around their place in the frame before, turned into the
    current camera.

    The nearest of up to four, as a mean of normals on either side of a crease is no normal there.

    Args:
        task, tolerance, depth, prefix: see
            :class:`~m2h_mm.tasks.stability.StabilityMetric`.
    """

    def change(self, previous: Tensor, current: Tensor, warp: Warp, seen: Tensor) -> Statistics:
        around, weights = warp.surroundings(warp.turn(previous.float()))
        angle = angular_error(around, current.float()[:, :, None], dim=1)
        angle = torch.where(weights[:, 0] > 0, angle, 180.0).amin(1, keepdim=True)
        return dict(count=seen.sum(), total=torch.where(seen, angle, 0.0).sum())

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return dict(angle=share(statistics['total'], statistics['count']) / 100)
