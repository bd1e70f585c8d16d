"""Semantic segmentation."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.files import read_array, require_dims

from .class_ids import VOID, ClassIds


@TASKS.register_module('semseg')
class Semseg(Task):
    """One class per pixel.

    Labels and predictions are class ids 0..num_classes-1. Outputs are logits.

    Args:
        num_classes: number of classes, 2..254. Default: 40, those of NYU.
        unknown_channel: the output has one more channel, the first, that stands for "unknown" and
            is never predicted: the layout of M2H's published checkpoints (41 outputs for the 40
            classes of NYU). Default: False.

    Raises:
        ValueError: any other number of classes.
    """

    folder = 'segmentation'
    prediction_suffix = '.png'
    metric = 'mIoU'
    higher_is_better = True
    error_unit = 'wrong class'
    meaning = 'class id from 0'
    classes_of_dataset = True

    def __init__(self, num_classes: int = 40, unknown_channel: bool = False) -> None:
        if not 1 < num_classes < VOID:
            raise ValueError(
                f'tasks.{self.name}.num_classes: expected 2..{VOID - 1}, got {num_classes}.'
            )
        self.num_classes = num_classes
        self.unknown_channel = unknown_channel
        self.channels = num_classes + int(unknown_channel)
        self._ids = ClassIds()

    def read(self, path: str | Path) -> Label:
        """Class ids ``(H, W)`` uint8.

        Raises:
            ValueError: the file holds a number that is no class, see :class:`ClassIds`.
        """
        return self._ids.apply(self._stored(path), self.num_classes, path)

    def with_class_ids(self, ids: ClassIds) -> Semseg:
        task = copy.copy(self)
        task._ids = ids
        return task

    def class_names(self, metainfo: Mapping) -> list[str]:
        names = list(metainfo.get('classes') or ())
        # Mapped to the classes of another data set, the labels have as many as that one.
        known = self._ids.table is not None or len(names) == self.num_classes
        return names if known else [str(index) for index in range(self.num_classes)]

    def target(self, label: Label) -> Label:
        """Numbers of the output's channels, int64."""
        label = self.truth(label)
        return Label(label.value.long() + int(self.unknown_channel), label.valid)

    def decode(self, output: Tensor) -> Tensor:
        """Logits ``(N, C, H, W)`` to class ids ``(N, 1, H, W)`` int64."""
        return output[:, int(self.unknown_channel) :].argmax(dim=1, keepdim=True)

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """Class ids ``(H, W)`` int64.

        Raises:
            ValueError: anything but integers 0..num_classes-1.
        """
        return self._predicted(path, 0)

    def read_numbered_prediction(self, path: str | Path, first_class: int) -> np.ndarray:
        return self._predicted(path, first_class)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        return prediction.astype(np.uint8)

    def error(self, prediction: np.ndarray, label: Label) -> np.ndarray:
        """1 where the class is wrong, 0 where it is right."""
        return self.where_counted(prediction != label.value, label)

    def label_statistics(self, label: Label) -> Tensor:
        """How often each class occurs."""
        label = self.truth(label)
        return torch.bincount(label.value[label.valid].long(), minlength=self.num_classes)

    def constant_prediction(self, statistics: Tensor) -> Tensor:
        """The majority class."""
        return statistics.argmax().reshape(1, 1, 1)

    def _stored(self, path: str | Path) -> np.ndarray:
        return require_dims(read_array(path), 2, path, self.name)

    def _predicted(self, path: str | Path, first: int) -> np.ndarray:
        stored = self._stored(path)
        last = first + self.num_classes - 1
        if not np.issubdtype(stored.dtype, np.integer):
            raise ValueError(
                f'File {path} of task {self.name!r}: expected integer class ids {first}..{last}, '
                f'got {stored.dtype} {stored.min()}..{stored.max()}.'
            )
        if stored.size and not first <= stored.min() <= stored.max() <= last:
            from_one = first == 0 and stored.max() == self.num_classes
            hint = (
                f' The ids reach {self.num_classes}: if the program counts classes from 1, add '
                '--class-offset 1.'
            )
            raise ValueError(
                f'File {path} of task {self.name!r}: expected integer class ids '
                f'{first}..{last}{f", counted from --class-offset {first}" if first else ""}, '
                f'got {stored.dtype} {stored.min()}..{stored.max()}.{hint if from_one else ""}'
            )
        return stored.astype(np.int64) - first
