"""Disparity metric."""

from __future__ import annotations

import math

from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.tasks import Disparity
from m2h_mm.tasks.disparity.measures import disparity_measures, disparity_statistics
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics


@METRICS.register_module()
class DisparityMetric(PooledMetric):
    """Disparity errors, pooled over the valid pixels of the data set; lower is better.

    Keys ``disparity/<measure>``: ``rmse`` and ``abs_err``, in pixels of the stereo camera's full
    resolution, and ``rel_err``, the mean of the absolute error over the truth, without unit.

    The multi-task literature calls this the depth error of Cityscapes, each in its own unit;
    ``rmse`` and ``abs_err`` times a factor are in it:

    ================================================  ========================
    values of                                         factor
    ================================================  ========================
    TaskPrompter, MTMamba: pixels, 0 < d < 80         1, ``max_disparity=80``
    auto-lambda: pixels at a width of 512             1 / 4
    MTAN: the file's numbers over 65535               256 / 65535 = 0.00391
    ================================================  ========================

    Args:
        max_disparity: pixels; label pixels at or above do not count.
        prefix: prefix of the keys. Default: 'disparity'.

    Raises:
        ValueError: ``max_disparity`` is not above 0.
    """

    default_prefix = 'disparity'

    def __init__(self, max_disparity: float = math.inf, prefix: str | None = None) -> None:
        super().__init__(Disparity(), prefix)
        if not max_disparity > 0:
            raise ValueError(
                f'DisparityMetric.max_disparity: expected pixels above 0, got {max_disparity}.'
            )
        self.max_disparity = max_disparity

    def statistics(self, pred: Tensor, label: Tensor) -> Statistics:
        valid = self.task.valid(label[None])[0] & (label < self.max_disparity)
        return disparity_statistics(pred, label, valid)

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return {name: float(value) for name, value in disparity_measures(statistics).items()}
