"""The metric of depth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.structures import Label
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.depth.measures import SMALLEST, depth_measures, depth_statistics
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics

MEASURES = ('rmse', 'rmse_log', 'abs_rel', 'sq_rel', 'silog', 'log10', 'delta1', 'delta2', 'delta3')


@METRICS.register_module('depth')
class DepthMetric(PooledMetric):
    """Depth errors, pooled over the valid pixels of the data set.

    Keys ``<task>/<measure>``: ``rmse`` (metres), ``rmse_log``, ``abs_rel``, ``sq_rel`` (metres),
    ``silog`` (x 100), ``log10``, and ``delta1``, ``delta2``, ``delta3``, the fractions within a
    factor of 1.25^k.

    The multi-task literature pools and evaluates all measured pixels (the defaults); work on
    single-image depth averages over images (``image_mean``) and limits the range.

    Args:
        task: whose labels and predictions are compared.
        min_depth: metres; label pixels at or below do not count, predictions are raised to it.
        max_depth: metres; label pixels at or above do not count, predictions are cut to it.
        image_mean: measures to report also as the mean of the images' own values, as
            ``<measure>_image_mean``; images without a valid pixel do not count.
        align: ``'median'`` multiplies each prediction by the ratio of the medians of label and
            prediction over its valid pixels, as work on monocular depth without a known scale does
            (SfMLearner, arXiv 1704.07813, section 4.1). Its numbers then say nothing of scale.
            Default: None.
        prefix: prefix of the keys. Default: the task's name.

    Raises:
        ValueError: an empty range, or a measure or an alignment that there is not.
    """

    def __init__(
        self,
        task: Task,
        min_depth: float = 0.0,
        max_depth: float = math.inf,
        image_mean: Sequence[str] = (),
        align: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(task, prefix)
        if not 0 <= min_depth < max_depth:
            raise ValueError(
                f'DepthMetric: expected 0 <= min_depth < max_depth in metres, got {min_depth} '
                f'and {max_depth}.'
            )
        if isinstance(image_mean, str) or not set(image_mean) <= set(MEASURES):
            raise ValueError(
                f'DepthMetric.image_mean: expected a list of names among {list(MEASURES)}, got '
                f'{image_mean!r}.'
            )
        if align not in (None, 'median'):
            raise ValueError(f"DepthMetric.align: expected None or 'median', got {align!r}.")
        self.align = align
        self.min_depth = min_depth
        self.max_depth = max_depth
        self.image_mean = tuple(image_mean)

    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        depth = label.value
        valid = label.valid & (depth > self.min_depth) & (depth < self.max_depth)
        if self.align and valid.any():
            median = pred[valid].float().median().clamp(min=SMALLEST)
            pred = pred.float() * (depth[valid].float().median() / median)
        statistics = depth_statistics(pred.clamp(self.min_depth, self.max_depth), depth, valid)
        if self.image_mean:
            measures = depth_measures(statistics)
            labelled = statistics['count'] > 0
            statistics['images'] = labelled.double()
            statistics.update(
                {
                    f'{name}_image_mean': torch.where(labelled, measures[name], 0.0)
                    for name in self.image_mean
                }
            )
        return statistics

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        measures = depth_measures(statistics)
        for name in self.image_mean:
            measures[f'{name}_image_mean'] = statistics[f'{name}_image_mean'] / statistics['images']
        return {name: float(value) for name, value in measures.items()}
