"""Surface normal metric."""

from __future__ import annotations

from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.tasks import Normals
from m2h_mm.tasks.normals.measures import normals_measures, normals_statistics
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics


@METRICS.register_module()
class NormalsMetric(PooledMetric):
    """Angles between predicted and true normals, pooled over the valid pixels of the data set.

    Keys: ``normals/mean``, ``normals/median`` (exact to 1e-4 degrees), ``normals/rmse`` in degrees;
    ``normals/within_11_25``, ``within_22_5``, ``within_30``, percent of the pixels with a smaller
    error.

    Args:
        prefix: prefix of the keys. Default: 'normals'.
    """

    default_prefix = 'normals'

    def __init__(self, prefix: str | None = None) -> None:
        super().__init__(Normals(), prefix)

    def statistics(self, pred: Tensor, label: Tensor) -> Statistics:
        return normals_statistics(pred, label, self.task.valid(label[None])[0, 0])

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return {name: float(value) for name, value in normals_measures(statistics).items()}
