"""The metric of disparity."""

from __future__ import annotations

import math

from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.structures import Label
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.disparity.measures import disparity_measures, disparity_statistics
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics


@METRICS.register_module('disparity')
class DisparityMetric(PooledMetric):
    """Disparity errors, pooled over the valid pixels of the data set; lower is better.

    Keys ``<task>/<measure>``: ``rmse`` and ``abs_err``, in pixels of the stereo camera's full
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
        task: whose labels and predictions are compared.
        max_disparity: pixels; label pixels at or above do not count.
        prefix: prefix of the keys. Default: the task's name.

    Raises:
        ValueError: ``max_disparity`` is not above 0.
    """

    def __init__(
        self, task: Task, max_disparity: float = math.inf, prefix: str | None = None
    ) -> None:
        super().__init__(task, prefix)
        if not max_disparity > 0:
            raise ValueError(
                f'DisparityMetric.max_disparity: expected pixels above 0, got {max_disparity}.'
            )
        self.max_disparity = max_disparity

    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        valid = label.valid & (label.value < self.max_disparity)
        return disparity_statistics(pred, label.value, valid)

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return {name: float(value) for name, value in disparity_measures(statistics).items()}
