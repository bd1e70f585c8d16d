"""Semantic segmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.files import read_array, require_dims


@TASKS.register_module('semseg')
class Semseg(Task):
    """One class per pixel.

    Labels are 0..num_classes-1, 255 where void. Outputs are logits.

    Args:
        num_classes: number of classes.
        unknown_channel: the output has one more channel, the first, that stands for "unknown" and
            is never predicted:
            the layout of M2H's published checkpoints (41 outputs for the 40 classes of NYU).
    """

    name = 'semseg'
    gt_field = 'gt_sem_seg'
    pred_field = 'pred_sem_seg'
    folder = 'segmentation'
    void = 255
    prediction_suffix = '.png'
    metric = 'mIoU'
    higher_is_better = True
    error_unit = 'wrong class'
    meaning = 'class id from 0'

    def __init__(self, num_classes: int = 40, unknown_channel: bool = False) -> None:
        if not 1 < num_classes < self.void:
            raise ValueError(
                f'tasks.{self.name}.num_classes: expected 2..{self.void - 1}, got {num_classes}.'
            )
        self.num_classes = num_classes
        self.unknown_channel = unknown_channel
        self.channels = num_classes + int(unknown_channel)

    def read(self, path: str | Path) -> np.ndarray:
        """The class ids ``(H, W)`` as they are stored; the data set maps them to 0..num_classes-1."""
        return require_dims(read_array(path), 2, path, self.name)

    def valid(self, label: Tensor) -> Tensor:
        return label != self.void

    def target(self, label: Tensor) -> tuple[Tensor, Tensor]:
        valid = self.valid(label)
        largest = int(label.masked_fill(~valid, 0).max()) if label.numel() else 0
        if largest >= self.num_classes:
            raise ValueError(
                f'A segmentation label holds class {largest}, but '
                f'tasks.{self.name}.num_classes is '
                f'{self.num_classes} (ids 0..{self.num_classes - 1}, {self.void} = '
                'void). Set num_classes '
                "to the data set's number of classes."
            )
        return torch.where(valid, label.long() + int(self.unknown_channel), self.void), valid

    def decode(self, output: Tensor) -> Tensor:
        """Logits ``(N, C, H, W)`` to class ids ``(N, 1, H, W)`` int64."""
        return output[:, int(self.unknown_channel) :].argmax(dim=1, keepdim=True)

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` class ids 0..num_classes-1."""
        ids = self.read(path)
        if (
            not np.issubdtype(ids.dtype, np.integer)
            or ids.size
            and not 0 <= ids.min() <= ids.max() < self.num_classes
        ):
            raise ValueError(
                f'File {path} of task {self.name!r}: expected integer class ids '
                f'0..{self.num_classes - 1}, got {ids.dtype} {ids.min()}..{ids.max()}.'
            )
        return ids

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        return prediction.astype(np.uint8)

    def error(self, prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
        """1 where the class is wrong, 0 where it is right."""
        return np.where(self.valid_pixels(label), (prediction != label).astype(np.float32), np.nan)

    def label_statistics(self, label: Tensor) -> Tensor:
        return torch.bincount(label.reshape(-1).long(), minlength=self.void + 1)

    def constant_prediction(self, statistics: Tensor) -> Tensor:
        """The majority class."""
        return statistics[: self.num_classes].argmax().reshape(1, 1, 1)
