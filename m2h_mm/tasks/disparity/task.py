"""Stereo disparity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.files import read_array, require_dims
from m2h_mm.tasks.positive import PositiveTask

STEPS_PER_PIXEL = 256.0


def pixels_from_png(stored: np.ndarray) -> np.ndarray:
    """``(H, W)`` uint16 p as in the files of Cityscapes to float32 pixels (p - 1) / 256; 0 where p
    is 0 (invalid).
    """
    return (np.maximum(stored, 1) - np.float32(1)) / np.float32(STEPS_PER_PIXEL)


@TASKS.register_module('disparity')
class Disparity(PositiveTask):
    """Shift between the two pictures of a stereo camera, in pixels **of the camera's full
    resolution**.

    With the camera's baseline and focal length, disparity is baseline * fx / depth: an inverse
    depth, hence a task of its own. As the pixels meant are those of the full resolution whatever
    the size of the map, a plain resize changes no value; a zoom by s, which is the scene at 1/s of
    its distance, multiplies by s.

    Labels, outputs and predictions are pixels. Files hold 0 where there is no measurement, or no
    shift, which is one of a point infinitely far: neither is a label.
    """

    metric = 'rmse'
    error_unit = 'px'
    meaning = 'disparity in pixels'

    def read(self, path: str | Path) -> Label:
        """``(H, W)`` float32 pixels: ``.npy`` and ``.mat`` hold pixels, 16-bit ``.png`` 256 *
        pixels + 1, 0 = invalid.

        Raises:
            ValueError: not ``(H, W)``, or integers other than uint16.
        """
        stored = require_dims(read_array(path), 2, path, self.name)
        if stored.dtype == np.uint16:
            return self.positive(pixels_from_png(stored))
        if not np.issubdtype(stored.dtype, np.floating):
            raise ValueError(
                f'File {path} of task {self.name!r}: expected a 16-bit .png of 256 * pixels + 1, '
                f'or pixels in floating point, got {stored.dtype}.'
            )
        return self.positive(stored.astype(np.float32))

    def zoom(self, label: Label, scale: float, size: tuple[int, int]) -> Label:
        label = label.resize(size)
        return Label(label.value * np.float32(scale), label.valid)

    def decode(self, output: Tensor) -> Tensor:
        """Pixels ``(N, 1, H, W)``, not below 0."""
        return output.float().clamp(min=0)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """256 * pixels + 1, uint16; more than 255.99 pixels is cut."""
        largest = np.iinfo(np.uint16).max
        return np.rint(np.clip(prediction * STEPS_PER_PIXEL + 1, 1, largest)).astype(np.uint16)
