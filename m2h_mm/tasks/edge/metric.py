"""The metric of edges: boundary F-measures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from mmengine.dist import get_world_size
from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.structures import Label
from m2h_mm.system import available_cores
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.edge.boundary import best_counts, boundary_counts, boundary_measures
from m2h_mm.tasks.edge.boundary_protocols import PRESETS, TRUTHS
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics


@METRICS.register_module('edge')
class EdgeMetric(PooledMetric):
    """Boundary F-measures: predicted edge pixels matched one to one with true ones within a small
    distance.

    Keys, in percent: ``<task>/odsF``, F at the best threshold for the data set; ``<task>/oisF``, F
    at each image's own best threshold; ``<task>/AP``, the area under the precision-recall curve.
    Thresholds are matched in parallel; what is kept are counts.

    ============  ==========  =====  ====  ============  ==================================
    preset        thresholds  edge   NMS   ODS           who reports it
    ============  ==========  =====  ====  ============  ==================================
    ``bsds``      99          >=     no    interpolated  the BSDS500 benchmark
    ``mtl``       99          >=     no                  MTI-Net, ASTMT
    ``mtl-nms``   101         >      yes                 InvPT, TaskPrompter, MTMamba
    ============  ==========  =====  ====  ============  ==================================

    The scores of different presets do not compare: suppression alone moves odsF by 1 to 2 points.

    Args:
        task: whose labels and predictions are compared.
        preset: the protocol.
        max_dist: largest distance of a pair as a share of the image's diagonal. Default: 0.0075, as
            for BSDS and PASCAL-Context. The literature takes 0.011 for NYUD.
        truth: 'edges': the label's edge pixels; 'contour': the thinned contour of the label read as
            a segmentation, as in the script behind the ``mtl`` numbers for NYUD. Default: the
                preset's, 'edges'.
        num_thresholds: use only so many of the thresholds, evenly spread: for validation during
            training. ODS and OIS are never above the exact ones (but for 'bsds', which
            interpolates); with 11 thresholds odsF was lower by less than 1 point wherever measured,
            see docs/results.md. Default: all.
        num_threads: threads that share the thresholds of an image. Default: one per core, the cores
            divided by the processes of a distributed run.
        prefix: prefix of the keys. Default: the task's name.

    Pixels that are not valid are neither true nor predicted edges. Predictions are rounded to
    8 bits first, so that a saved PNG gives the same score.

    Raises:
        ValueError: an argument outside its choices or range.
    """

    def __init__(
        self,
        task: Task,
        preset: str = 'mtl-nms',
        max_dist: float | None = None,
        truth: str | None = None,
        num_thresholds: int | None = None,
        num_threads: int | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(task, prefix)
        if preset not in PRESETS:
            raise ValueError(
                f'EdgeMetric.preset: expected one of {sorted(PRESETS)}, got {preset!r}.'
            )
        boundary = PRESETS[preset]
        if max_dist is not None:
            if not 0 < max_dist < 1:
                raise ValueError(
                    'EdgeMetric.max_dist: expected a share of the diagonal between 0 and 1, such '
                    f'as 0.0075, got {max_dist}.'
                )
            boundary = replace(boundary, max_dist=max_dist)
        if truth is not None:
            if truth not in TRUTHS:
                raise ValueError(f'EdgeMetric.truth: expected one of {TRUTHS}, got {truth!r}.')
            boundary = replace(boundary, truth=truth)
        if num_thresholds is not None:
            if not 1 <= num_thresholds <= len(boundary.thresholds):
                raise ValueError(
                    f'EdgeMetric.num_thresholds: expected 1..{len(boundary.thresholds)} for '
                    f'preset {preset!r}, got {num_thresholds}.'
                )
            boundary = boundary.thinned_out(num_thresholds)
        if num_threads is not None and num_threads < 1:
            raise ValueError(f'EdgeMetric.num_threads: expected 1 or more, got {num_threads}.')
        self.boundary = boundary
        self.num_threads = num_threads

    @property
    def protocol(self) -> str:
        """The protocol in words, for reports."""
        return str(self.boundary)

    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        boundary = self.boundary
        valid = label.valid[0].cpu().numpy()
        truth = boundary.prepare_truth(np.where(valid, label.value[0].cpu().numpy(), 0)) & valid
        edges = boundary.prepare_edges(pred[0].detach().cpu().numpy()) * valid
        with ThreadPoolExecutor(self._threads()) as pool:
            counts = boundary_counts(
                edges, [truth], boundary.thresholds, boundary.max_dist, boundary.strict, pool.map
            )
        return dict(
            count=torch.tensor(int(valid.sum())),
            thresholds=torch.from_numpy(counts),
            best=torch.from_numpy(best_counts(counts)),
        )

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        if not self.num_pixels(statistics):
            return dict.fromkeys(('odsF', 'oisF', 'AP'), float('nan'))
        measures = boundary_measures(
            statistics['thresholds'].numpy(), statistics['best'].numpy(), self.boundary.interpolate
        )
        return {
            name: 100 * measures[key]
            for name, key in (('odsF', 'ods'), ('oisF', 'ois'), ('AP', 'ap'))
        }

    def _threads(self) -> int:
        return self.num_threads or max(1, available_cores() // get_world_size())
