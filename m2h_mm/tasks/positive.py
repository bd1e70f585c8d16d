"""The base class of depth and disparity."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
from torch import Tensor

from m2h_mm.structures import Label
from m2h_mm.tasks.files import read_array, require_dims
from m2h_mm.tasks.numbers import equals_any, magnitude, parse_numbers

from .base import Task

SMALLEST = 1e-6  # metres or pixels
LARGEST = 1e6  # metres or pixels; what is as large is no measurement


class PositiveTask(Task):
    """A task of one positive number per pixel; files hold 0 where there is none, or a number that
    the format names as ``invalid``.
    """

    def mean_output(self, outputs: Tensor) -> Tensor:
        """The geometric mean: errors of distances are relative."""
        return outputs.float().clamp(min=SMALLEST).log().mean(dim=0).exp()

    @abstractmethod
    def to_units(self, stored: np.ndarray, path: str | Path) -> np.ndarray:
        """What a file holds, ``(H, W)``, in the task's unit, float32.

        Args:
            stored: integers or floating-point numbers.
            path: the file, for messages.

        Raises:
            ValueError: numbers that have to be explained first.
        """

    def read(self, path: str | Path) -> Label:
        """``(H, W)`` float32 in the task's unit. Known where the number is above 0, below 1e6 and
        not ``invalid``.

        Raises:
            ValueError: not ``(H, W)``, no numbers, or see :meth:`to_units`.
        """
        return self._label(self._stored(path), path)

    def _label(self, stored: np.ndarray, path: str | Path) -> Label:
        with np.errstate(over='ignore'):
            values = self.to_units(stored, path)
        valid = (values > 0) & (values < LARGEST)
        if invalid := parse_numbers('invalid', self.label_format.invalid):
            valid &= ~equals_any(stored, invalid)
        return Label(np.where(valid, values, np.float32(0)), valid)

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 in the task's unit, as :meth:`read`.

        Raises:
            ValueError: no numbers, or ones that are not finite or beyond 1e6.
        """
        stored = self._stored(path)
        if not np.isfinite(stored).all():
            raise ValueError(
                f'File {path} of task {self.name!r}: expected finite numbers '
                f'({self.error_unit}), got NaN or infinity.'
            )
        with np.errstate(over='ignore'):
            farthest = np.abs(self.to_units(stored, path)).max(initial=0)
        if farthest >= LARGEST:
            raise ValueError(
                f'File {path} of task {self.name!r}: expected numbers below {LARGEST:g} '
                f'{self.error_unit}, got {magnitude(stored):g}, which is no prediction.'
            )
        return self._label(stored, path).value

    def _stored(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` as the file holds it."""
        return require_dims(read_array(path), 2, path, self.name)
