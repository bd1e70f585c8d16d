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

from m2h_mm.structures import Label
from m2h_mm.structures.label import read_label, read_prediction
from m2h_mm.tasks.base import Task

Statistics = dict[str, Tensor]


class PooledMetric(BaseMetric):
    """Base of the metrics that are a function of sums over pixels.

    A subclass turns one image into :meth:`statistics` that add up over images, and the sum into
    measures (:meth:`summarise`). It is registered under the task's kind and then found by
    :class:`~m2h_mm.evaluation.MultiTaskEvaluator`. One sum per process is kept, added up over the
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
        task: whose labels and predictions are compared.
        prefix: prefix of the keys. Default: the task's name.
    """

    def __init__(self, task: Task, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix or task.name)
        self.task = task
        self._reset()

    @abstractmethod
    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        """Of one image.

        Args:
            pred: ``(C, H, W)``.
            label: ``value (C, H, W)`` and ``valid (1, H, W)``, what counts of it.
        """

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
            total = self.statistics_of_nothing()
        if not self.num_pixels(total):
            print_log(
                f'{type(self).__name__}: {self.describe_lack()} in the whole data set; its '
                'measures are NaN.',
                logger='current',
                level=logging.WARNING,
            )
        self.report(total)
        return self.summarise(total)

    def describe_lack(self) -> str:
        """What there is none of where the measures are NaN."""
        return f'no valid pixel of {self.task.gt_field}'

    def report(self, statistics: Statistics) -> None:
        """Log what is too long for measures; here nothing."""

    def statistics_of_nothing(self) -> Statistics:
        """Of an image of one pixel, which does not count."""
        nothing = torch.zeros(self.task.label_channels, 1, 1)
        return self.statistics(nothing, Label(nothing, torch.zeros(1, 1, 1, dtype=torch.bool)))

    def _of_sample(self, sample: Mapping) -> Statistics | None:
        label = read_label(sample, self.task.gt_field)
        if label is None:
            return None
        pred = read_prediction(sample, self.task.pred_field)
        if pred is None:
            raise ValueError(
                f'{type(self).__name__}: a sample has {self.task.gt_field} but no '
                f"{self.task.pred_field}. Let the model predict '{self.task.name}', or set its "
                'metric to None in evaluator.metrics.'
            )
        if pred.shape != label.value.shape:
            raise ValueError(
                f'{type(self).__name__}: {self.task.pred_field} is {tuple(pred.shape)}, but '
                f'{self.task.gt_field} {tuple(label.value.shape)}. Labels are compared at the '
                "size of the frame's file: load them after the test pipeline's resize."
            )
        label = Label(label.value.to(pred.device), label.valid.to(pred.device))
        return self.statistics(pred, self.task.truth(label))

    def _reset(self) -> None:
        self.results.clear()
        self._sum: Statistics | None = None
        self._last: Statistics | None = None
        self._seen = 0


def is_repeated(seen: int, size: int) -> bool:
    """Whether the last of ``seen`` samples of this process is beyond the data set's ``size``."""
    rank, processes = get_dist_info()
    return processes > 1 and (seen - 1) * processes + rank >= size


def add(a: Statistics | None, b: Statistics | None) -> Statistics | None:
    """The sum of two statistics, either of which may be missing."""
    if a is None or b is None:
        return b if a is None else a
    return {name: value + b[name] for name, value in a.items()}
