"""The base class of depth and disparity."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2h_mm.structures import Label
from m2h_mm.tasks.files import read_array

from .base import Task


class PositiveTask(Task):
    """A task of one positive number per pixel; files hold 0 where there is none."""

    def positive(self, values: np.ndarray) -> Label:
        """The label of ``values (H, W)``: known where they are finite and above 0."""
        valid = (values > 0) & (values < np.inf)
        return Label(np.where(valid, values, np.float32(0)), valid)

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 in the task's unit, as :meth:`read`.

        Raises:
            ValueError: values that are not finite.
        """
        if not np.isfinite(read_array(path)).all():
            raise ValueError(
                f'File {path} of task {self.name!r}: expected finite numbers '
                f'({self.error_unit}), got NaN or infinity.'
            )
        return super().read_prediction(path)
