"""The metric of a task that has none of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.structures import Label
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics


@METRICS.register_module('error')
class ErrorMetric(PooledMetric):
    """Mean of :meth:`~m2h_mm.tasks.Task.error` over the valid pixels of the data set.

    Key ``<task>/error``, in the task's ``error_unit``.

    Args:
        task: whose labels and predictions are compared.
        prefix: prefix of the keys. Default: the task's name.
    """

    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        label = Label(_as_map(label.value), _as_map(label.valid))
        error = self.task.error(_as_map(pred), label)
        counted = ~np.isnan(error)
        return dict(
            count=torch.tensor(int(counted.sum())),
            total=torch.tensor(error[counted].sum(dtype=np.float64)),
        )

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['count'])

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        return dict(error=float(statistics['total'] / statistics['count']))


def _as_map(tensor: Tensor) -> np.ndarray:
    """``(C, H, W)`` as ``(H, W)`` or ``(H, W, C)``."""
    array = tensor.detach().cpu().numpy().transpose(1, 2, 0)
    return array[..., 0] if array.shape[2] == 1 else array
