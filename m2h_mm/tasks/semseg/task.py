"""Semantic segmentation."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.doubt import Doubt

from .class_numbers import UNKNOWN, ClassNumbers
from .label_format import VOID, SemsegFormat


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
    largest_metric = 100.0  # percent
    error_unit = 'wrong class'
    meaning = 'class id from 0'
    classes_of_dataset = True
    label_format: SemsegFormat = SemsegFormat()

    def __init__(self, num_classes: int = 40, unknown_channel: bool = False) -> None:
        if not 1 < num_classes < VOID:
            raise ValueError(
                f'tasks.{self.name}.num_classes: expected 2..{VOID - 1}, got {num_classes}.'
            )
        self.num_classes = num_classes
        self.unknown_channel = unknown_channel
        self.channels = num_classes + int(unknown_channel)
        self._numbers = ClassNumbers(self.label_format, num_classes)
        self._class_table: np.ndarray | None = None

    def read(self, path: str | Path) -> Label:
        """Class ids ``(H, W)`` uint8, as :class:`SemsegFormat` says.

        Raises:
            ValueError: the file holds a number or a colour that is no class.
        """
        stored = self._numbers.stored(path, self.name)
        ids = self._numbers.classes(stored)
        unknown = ids == UNKNOWN
        if unknown.any():
            raise ValueError(
                f'Segmentation {path} holds {self._numbers.others(stored, unknown)}; expected '
                f'{self._numbers.expected()}. {self._way_out(stored, unknown)}'
            )
        if self._class_table is not None:
            ids = self._class_table[ids]
        valid = ids != VOID
        return Label(ids * valid, valid)

    def with_format(self, **settings: Any) -> Semseg:
        task = super().with_format(**settings)
        try:
            task._numbers = ClassNumbers(task.label_format, task.num_classes)
        except ValueError as error:
            raise ValueError(f'{self.name}.{error}') from None
        return task

    def for_predictions(self, **settings: Any) -> Semseg:
        if settings.get('void') is not None:
            raise ValueError(f'{self.name}.void: a prediction names a class for every pixel.')
        task = super().for_predictions(**settings)
        task._class_table = None
        return task

    def with_class_table(self, table: np.ndarray) -> Semseg:
        task = copy.copy(self)
        task._class_table = table
        return task

    def class_names(self, metainfo: Mapping) -> list[str]:
        names = list(metainfo.get('classes') or ())
        # Mapped to the classes of another data set, the labels have as many as that one.
        known = self._class_table is not None or len(names) == self.num_classes
        return names if known else [str(index) for index in range(self.num_classes)]

    def target(self, label: Label) -> Label:
        """Numbers of the output's channels, int64."""
        label = self.truth(label)
        return Label(label.value.long() + int(self.unknown_channel), label.valid)

    def decode(self, output: Tensor) -> Tensor:
        """Logits ``(N, C, H, W)`` to class ids ``(N, 1, H, W)`` int64."""
        return output[:, int(self.unknown_channel) :].argmax(dim=1, keepdim=True)

    def mean_output(self, outputs: Tensor) -> Tensor:
        """The logarithm of the mean probabilities."""
        return outputs.float().log_softmax(dim=2).logsumexp(dim=0) - math.log(len(outputs))

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        yield from super().inspect(path, label)
        form = self.label_format
        if form.void is not None or form.ids is not None or form.palette is not None:
            return
        stored = self._numbers.stored(path, self.name)
        is_void, is_zero = stored == VOID, stored == 0
        if form.first == 0:
            yield Doubt(
                '0 alone, beside 255, which counts as void: is 255 a class?',
                is_void & is_zero.any() & (is_void | is_zero).all(),
                advice=f'If so: {self.to_state("ids", [0, 255])}.',
            )
        else:
            yield Doubt(
                '255 beside 0, which counts as void, as if classes were counted from 0',
                is_void & is_zero.any() & (stored != self.num_classes).all(),
                advice=f'If they are: {self.to_state("first", 0)}; if 255 is void too: '
                f'{self.to_state("void", [0, 255])}.',
            )

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """Class ids ``(H, W)`` int64, as :class:`SemsegFormat` says, without void.

        Raises:
            ValueError: anything but classes.
        """
        stored = self._numbers.stored(path, self.name)
        ids = self._numbers.classes(stored)
        unknown = ids >= self.num_classes
        if unknown.any():
            what = 'integer class ids' if self.label_format.palette is None else 'classes as'
            raise ValueError(
                f'File {path} of task {self.name!r}: expected {what} '
                f'{self._numbers.expected(void=False)}; it holds '
                f'{self._numbers.others(stored, unknown)}.{self._hint(stored)}'
            )
        return ids.astype(np.int64)

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

    def _way_out(self, stored: np.ndarray, unknown: np.ndarray) -> str:
        """What mends a label with numbers or colours that are not known."""
        if self.label_format.palette is not None:
            return (
                f'Name them in {self.to_state("palette")}, those without a class as void; '
                'colours in between come from resizing with interpolation.'
            )
        if np.isnan(stored).any():
            return f'NaN is no class: write {VOID}, or another number of void, instead.'
        if stored.dtype.kind == 'f' and (stored != np.rint(stored)).any():
            return (
                'Fractions of classes come from resizing with interpolation: resize with the '
                'nearest pixel, from the source.'
            )
        if self.label_format.first == 0 and (stored[unknown] == self.num_classes).all():
            return f'If the classes are counted from 1: {self.to_state("first", 1)}.'
        return (
            f"Set tasks.{self.name}.num_classes to the data set's number of classes, or state what "
            f'the numbers are: {self.to_state("ids")}, {self.to_state("void")}.'
        )

    def _hint(self, stored: np.ndarray) -> str:
        form = self.label_format
        if form.palette is not None or form.ids is not None:
            return ''
        if form.first == 0 and stored.max() == self.num_classes:
            return (
                f' The ids reach {self.num_classes}: if the program counts classes from 1, add '
                '--class-offset 1.'
            )
        return ' Counted from --class-offset 1.' if form.first else ''
