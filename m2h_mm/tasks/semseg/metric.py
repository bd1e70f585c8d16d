"""The metric of semantic segmentation."""

from __future__ import annotations

import logging

from mmengine.logging import print_log
from torch import Tensor

from m2h_mm.registry import METRICS
from m2h_mm.structures import Label
from m2h_mm.tasks.pooled_metric import PooledMetric, Statistics
from m2h_mm.tasks.semseg.measures import confusion_matrix, segmentation_measures
from m2h_mm.tasks.semseg.task import Semseg


@METRICS.register_module('semseg')
class SemSegMetric(PooledMetric):
    """Mean intersection over union, from counts over the data set.

    Keys: ``<task>/mIoU``, ``<task>/mAcc`` (mean over classes of the share of their pixels found)
    and ``<task>/aAcc`` (share of all pixels), in percent, not rounded.

    Args:
        task: whose labels and predictions are compared; it knows how many classes there are.
        absent: what mIoU does with classes that occur neither in truth nor prediction: 'exclude'
            leaves them out of the mean, 'zero' counts them as 0, as the InvPT family does.
        per_class: also log a table of all classes, with their names.
        prefix: prefix of the keys. Default: the task's name.

    Raises:
        ValueError: another word for ``absent``.
    """

    def __init__(
        self,
        task: Semseg,
        absent: str = 'exclude',
        per_class: bool = True,
        prefix: str | None = None,
    ) -> None:
        super().__init__(task, prefix)
        if absent not in ('exclude', 'zero'):
            raise ValueError(f"SemSegMetric.absent: expected 'exclude' or 'zero', got {absent!r}.")
        self.absent = absent
        self.per_class = per_class

    def statistics(self, pred: Tensor, label: Label) -> Statistics:
        counts = confusion_matrix(pred, label.value, label.valid, self.task.num_classes)
        return dict(confusion=counts)

    def num_pixels(self, statistics: Statistics) -> float:
        return float(statistics['confusion'].sum())

    def summarise(self, statistics: Statistics) -> dict[str, float]:
        measures = self._percent(statistics)
        return dict(
            mIoU=float(measures['miou']),
            mAcc=float(measures['mean_acc']),
            aAcc=float(measures['pixel_acc']),
        )

    def report(self, statistics: Statistics) -> None:
        if self.per_class:
            measures = self._percent(statistics)
            print_log(
                self._table(measures['iou'].tolist(), measures['class_acc'].tolist()),
                logger='current',
                level=logging.INFO,
            )

    def _percent(self, statistics: Statistics) -> dict[str, Tensor]:
        return {
            name: 100 * value
            for name, value in segmentation_measures(statistics['confusion'], self.absent).items()
        }

    def _table(self, iou: list[float], accuracy: list[float]) -> str:
        names = self.task.class_names(self.dataset_meta or {})
        width = max(map(len, ('class', *names)))
        rows = [
            f'{name:<{width}}  {i:6.2f}  {a:6.2f}'
            for name, i, a in zip(names, iou, accuracy, strict=True)
        ]
        return '\n'.join(
            [f'Segmentation by class, percent\n{"class":<{width}}  {"IoU":>6}  {"Acc":>6}', *rows]
        )
