"""What the tasks of one positive number a pixel share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2h_mm.tasks.files import read_array

from .base import Task


class PositiveTask(Task):
    """A task of one positive number a pixel, 0 where there is none: depth, disparity."""

    def valid(self, label: Tensor) -> Tensor:
        return (label > 0) & torch.isfinite(label)

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 in the task's unit, as :meth:`read`.

        Raises:
            ValueError: values that are not finite.
        """
        if not np.isfinite(read_array(path)).all():
            raise ValueError(
                f'File {path} of task {self.name!r}: expected finite numbers '
                f'({self.error_unit}), got NaN '
                'or infinity.'
            )
        return self.read(path)
