"""What the tasks of one positive number a pixel share."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from torch import Tensor

from m2h_mm.tasks.files import read_array

from .base import Task


class PositiveTask(Task):
    """A task whose maps hold one positive number a pixel, 0 where there is none: depth, disparity.

    Pictures give them a colour scale, which several maps may share.

    Class attributes:
        colormap: of Matplotlib, from small to large.
    """

    colormap: str

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

    def draw(
        self, map: np.ndarray, vmin: float | None = None, vmax: float | None = None
    ) -> np.ndarray:
        """Near is bright, far is dark, unmeasured is grey; the range is the map's own unless given,
        in its unit.
        """
        valid = map > 0
        if valid.any():
            vmin = float(map[valid].min()) if vmin is None else vmin
            vmax = float(map[valid].max()) if vmax is None else vmax
        else:
            vmin, vmax = 0.0, 1.0
        scaled = np.clip((map - vmin) / max(vmax - vmin, 1e-6), 0, 1)
        picture = matplotlib.colormaps[self.colormap](scaled, bytes=True)[..., :3].copy()
        picture[~valid] = 128
        return picture
