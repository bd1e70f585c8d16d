"""Metrics over the pixels of a whole data set, in constant memory."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from m2h_mm.tasks import Task

Statistics = dict[str, Tensor]


class PooledMetric(BaseMetric):
    """Base of the metrics that are a function of sums over pixels.

    A subclass names the task, turns one image into :meth:`statistics` that add up over images, and
    the sum into measures (:meth:`summarise`). One sum per process is kept, added up over the
    processes at the end, so every measure is pooled over the data set, whatever the batch size and
    the number of processes.

    A sample without the label is skipped. If the whole set has no valid pixel, the measures are
    NaN, and a warning is logged: all keys are always there, so that ``save_best`` finds its own
    (NaN is never better) and loggers their columns.

    In distributed evaluation the sampler repeats samples until all processes have equally many.
    mmengine deals them out in turn and drops what exceeds the data set's size; as that concerns at
    most the last sample of a process, its statistics are held back until the size is known, and the
    result is the one of a single process.

    Args:
        task: owner of the fields and of which label pixels are valid.
        prefix: prefix of the keys. Default: the class's ``default_prefix``.
    """

    def __init__(self, task: Task, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.task = task
        self._reset()

    @abstractmethod
    def statistics(self, pred: Tensor, label: Tensor) -> Statistics:
        """Of one image, from prediction ``(C, H, W)`` and label ``(C, H, W)``; H and W may be 0."""

    @abstractmethod
    def summarise(self, statistics: Statistics) -> dict[str, float]:
        """The measures, NaN if the statistics are all 0."""

    @abstractmethod
    def num_pixels(self, statistics: Statistics) -> float:
        """How many valid pixels the statistics are of."""

    def process(self, data_batch: Any, data_samples: Sequence[Mapping]) -> None:
        """Take in one batch.

        Args:
            data_batch: not used.
            data_samples: labels and predictions, as :class:`MultiTaskDataSample` or as the dict it
                becomes.

        Raises:
            ValueError: a sample has a label but no prediction, or they differ in size.
        """
        for sample in data_samples:
            self._sum = add(self._sum, self._last)
            self._last = self._of_sample(sample)
            self._seen += 1

    def evaluate(self, size: int) -> dict[str, float]:
        """The measures over the data set, the same in every process; then start afresh.

        Args:
            size: number of samples in the data set.
        """
        own = self._sum if is_repeated(self._seen, size) else add(self._sum, self._last)
        own = None if own is None else {name: value.cpu() for name, value in own.items()}
        measures = self.compute_metrics(all_gather_object(own))
        self._reset()
        return {f'{self.prefix}/{name}': value for name, value in measures.items()}

    def state(self) -> dict[str, Any]:
        """What was taken in so far, for :meth:`load_state`: tensors and numbers, never changed
        afterwards.
        """
        return dict(sum=self._sum, last=self._last, seen=self._seen)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._sum, self._last, self._seen = state['sum'], state['last'], state['seen']

    def compute_metrics(self, results: list[Statistics | None]) -> dict[str, float]:
        """The measures of the sum of the processes' statistics (None: saw no label)."""
        total = None
        for statistics in results:
            total = add(total, statistics)
        if total is None:
            nothing = torch.zeros(self.task.label_channels, 0, 0)
            total = self.statistics(nothing, nothing)
        if not self.num_pixels(total):
            print_log(
                f'{type(self).__name__}: no valid pixel of {self.task.gt_field} in the whole '
                'data set; its '
                'measures are NaN.',
                logger='current',
                level=logging.WARNING,
            )
        self.report(total)
        return self.summarise(total)

    def report(self, statistics: Statistics) -> None:
        """Log what is too long for measures; here nothing."""

    def _of_sample(self, sample: Mapping) -> Statistics | None:
        label = read_field(sample, self.task.gt_field)
        if label is None:
            return None
        pred = read_field(sample, self.task.pred_field)
        if pred is None:
            raise ValueError(
                f'{type(self).__name__}: a sample has {self.task.gt_field} but no '
                f'{self.task.pred_field}. '
                f"Let the model predict '{self.task.name}', or remove this metric "
                'from the evaluator.'
            )
        if pred.shape != label.shape:
            raise ValueError(
                f'{type(self).__name__}: {self.task.pred_field} is '
                f'{tuple(pred.shape)}, but '
                f'{self.task.gt_field} {tuple(label.shape)}. Labels are compared at '
                'the size of the '
                "frame's file: load them after the test pipeline's resize."
            )
        return self.statistics(pred, label.to(pred.device))

    def _reset(self) -> None:
        self.results.clear()
        self._sum: Statistics | None = None
        self._last: Statistics | None = None
        self._seen = 0


def read_field(sample: Mapping, name: str) -> Tensor | None:
    """The map ``(C, H, W)`` of a field, None if the sample lacks it."""
    field = sample.get(name)
    if field is None:
        return None
    return field['data'] if isinstance(field, Mapping) else field.data


def is_repeated(seen: int, size: int) -> bool:
    """Whether the last of ``seen`` samples of this process is beyond the data set's ``size``."""
    rank, processes = get_dist_info()
    return processes > 1 and (seen - 1) * processes + rank >= size


def add(a: Statistics | None, b: Statistics | None) -> Statistics | None:
    """The sum of two statistics, either of which may be missing."""
    if a is None or b is None:
        return b if a is None else a
    return {name: value + b[name] for name, value in a.items()}
