"""The metric of surface normals."""

from __future__ import annotations

from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.structures import Label
from m2h_mm.tasks.normals.measures import normals_measures, normals_statistics
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics


@METRICS.register_module('normals')
class NormalsMetric(PooledMetric):
    """Angles between predicted and true normals, pooled over the valid pixels of the data set.

    Keys: ``<task>/mean``, ``<task>/median`` (exact to 1e-4 degrees), ``<task>/rmse`` in degrees;
    ``<task>/within_11_25``, ``within_22_5``, ``within_30``, percent of the pixels with a smaller
    error.

    Args:
        task: whose labels and predictions are compared.
        prefix: prefix of the keys. Default: the task's name.
    """

    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        return normals_statistics(pred, label.value, label.valid[0])

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return {name: float(value) for name, value in normals_measures(statistics).items()}
