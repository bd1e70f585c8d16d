"""The metric of saliency."""

from __future__ import annotations

from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.structures import Label
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics
from m2h_mm.tasks.saliency.measures import saliency_measures, saliency_statistics


@METRICS.register_module('saliency')
class SaliencyMetric(PooledMetric):
    """How well thresholded saliency finds what stands out, averaged over the images; percent,
    higher is better.

    Keys, of the thresholds k / 255 with k = 1..255 (the prediction is rounded to multiples of 1/255
    and salient where it is not below):

    - ``<task>/maxF``: F = (1 + b) P R / (b P + R), from the precision P and recall R of a
      threshold, each averaged over the images; the largest over the thresholds.
    - ``<task>/meanF``: the mean of F over the thresholds.
    - ``<task>/mIoU``: intersection over union of the salient pixels at a threshold (the
      background has no part in it), averaged over the images; the largest over the thresholds,
      which are those of the whole data set.

    An image without a valid pixel does not count. In one without a salient pixel, P, R and IoU are
    1 at thresholds at which nothing is predicted, else 0; with salient pixels of which none is
    predicted, all three are 0.

    Args:
        task: whose labels and predictions are compared.
        beta_squared: b, above 0. Default: 0.3, as in the saliency literature.
        prefix: prefix of the keys. Default: the task's name.

    Raises:
        ValueError: ``beta_squared`` is not above 0.
    """

    def __init__(self, task: Task, beta_squared: float = 0.3, prefix: str | None = None) -> None:
        super().__init__(task, prefix)
        if not beta_squared > 0:
            raise ValueError(
                f'SaliencyMetric.beta_squared: expected a number above 0, got {beta_squared}.'
            )
        self.beta_squared = beta_squared

    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        return saliency_statistics(pred, label.value, label.valid)

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['pixels'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        measures = {
            name: float(100 * value)
            for name, value in saliency_measures(statistics, self.beta_squared).items()
        }
        return dict(maxF=measures['max_f'], meanF=measures['mean_f'], mIoU=measures['miou'])
