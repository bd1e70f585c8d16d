"""Pixel-wise edge metric."""

from __future__ import annotations

from torch import Tensor

from m2h_mm.evaluation.functional.edge import balanced_bce, balanced_bce_statistics
from m2h_mm.registry import METRICS
from m2h_mm.tasks import Edge

from .pooled import PooledMetric, Statistics


@METRICS.register_module()
class EdgeBalancedBCEMetric(PooledMetric):
    """Balanced cross-entropy of predicted edge probabilities, pooled over the valid pixels of the data set.

    Key: ``edge/balanced_bce``, lower is better: what edges are trained with, cheap enough for every validation. It is
    no substitute for the boundary F-measure, which forgives small shifts.

    Args:
        pos_weight: share of the edge term, in [0, 1].
        prefix: prefix of the key. Default: 'edge'.
    """

    default_prefix = 'edge'

    def __init__(self, pos_weight: float = 0.95, prefix: str | None = None) -> None:
        super().__init__(Edge(), prefix)
        if not 0 <= pos_weight <= 1:
            raise ValueError(f'EdgeBalancedBCEMetric.pos_weight: expected a number in [0, 1], got {pos_weight}.')
        self.pos_weight = pos_weight

    def statistics(self, pred: Tensor, label: Tensor) -> Statistics:
        return balanced_bce_statistics(pred, label, self.task.valid(label[None])[0], self.pos_weight)

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return dict(balanced_bce=float(balanced_bce(statistics)))
