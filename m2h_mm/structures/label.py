"""A label map together with the mask of the pixels where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from .orientation import turn_upright


@dataclass(frozen=True, eq=False)
class Label:
    """The labels of one task, and where they are known.

    No number has a special meaning: 0 metres, black or class 255 may all be labels. Where ``valid``
    is False nothing is known; the value there is finite, mostly 0, and must not be looked at.

    ===================  ==========================  =====================
    where                ``value``                   ``valid``, bool
    ===================  ==========================  =====================
    transforms, NumPy    ``(H, W)`` or (H, W, C)     ``(H, W)``
    sample, tensors      ``(C, H, W)``               ``(1, H, W)``
    model, tensors       ``(N, C, H, W)``            ``(N, 1, H, W)``
    ===================  ==========================  =====================

    The methods move the pixels of a NumPy label. What else a move changes (a mirror negates the x
    of normals) is up to the task, see :class:`~m2h_mm.tasks.Task`.
    """

    value: np.ndarray | Tensor
    valid: np.ndarray | Tensor

    def flip(self) -> Label:
        """Mirrored left and right."""
        # A view that runs backwards would be copied later, many times more slowly than here.
        return Label(cv2.flip(self.value, 1), cv2.flip(self.valid.view(np.uint8), 1).view(bool))

    def turn(self, orientation: int) -> Label:
        """As an image of that EXIF orientation is turned to be upright."""
        return Label(turn_upright(self.value, orientation), turn_upright(self.valid, orientation))

    def crop(self, rows: slice, columns: slice) -> Label:
        """The part in ``rows`` and ``columns``, as a view: nothing is copied."""
        return Label(self.value[rows, columns], self.valid[rows, columns])

    def resize(self, size: tuple[int, int]) -> Label:
        """Sampled at another ``(H, W)``, see :func:`resize_nearest`."""
        value = resize_nearest(self.value, size)
        if self.valid.all():  # the common case, found out in a fraction of the time
            return Label(value, np.ones(size, bool))
        # OpenCV does not know bool, which is stored like uint8.
        return Label(value, resize_nearest(self.valid.view(np.uint8), size).view(bool))


def resize_nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` at another ``size`` (H, W), nearest neighbour: no two values are
    mixed.
    """
    return cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT)


def read_label(sample: Mapping | Any, name: str) -> Label | None:
    """The label that a sample holds in a field, as tensors ``(C, H, W)`` and ``(1, H, W)``.

    Args:
        sample: a :class:`~m2h_mm.structures.MultiTaskDataSample`, or the dict that it becomes on
            its way to the metrics.
        name: of the field, such as ``gt_depth``.

    Returns:
        None if the sample has no such label.

    Raises:
        ValueError: the field does not say where the label is known.
    """
    field = sample.get(name)
    if field is None:
        return None
    if 'valid' not in field:
        raise ValueError(
            f'{name} of a sample has no mask: expected PixelData(data=(C, H, W), valid=(1, H, W) '
            'bool), as PackMultiTaskInputs makes it.'
        )
    return Label(_entry(field, 'data'), _entry(field, 'valid'))


def read_prediction(sample: Mapping | Any, name: str) -> Tensor | None:
    """The prediction ``(C, H, W)`` that a sample holds in a field; None if it has none."""
    field = sample.get(name)
    return None if field is None else _entry(field, 'data')


def _entry(field: Mapping | Any, key: str) -> Tensor:
    return field[key] if isinstance(field, Mapping) else field.get(key)
