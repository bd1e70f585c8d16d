"""Surface normals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.doubt import Doubt
from m2h_mm.tasks.files import read_array, require_dims

# 8-bit storage keeps valid vectors within 0.02 of unit length and puts "missing" (grey) at 0.007.
SHORTEST_VALID = 0.5
UNIT_TOLERANCE = 0.1  # 8 bits change the length by 0.02 at most, JPEG by more


@TASKS.register_module('normals')
class Normals(Task):
    """Unit surface normals in the camera frame: x right, y up, z toward the camera.

    Labels, outputs and predictions are unit vectors; files hold grey, black or (0, 0, 0) where they
    are missing.
    """

    channels = 3
    label_channels = 3
    metric = 'mean'
    largest_metric = 180.0  # degrees
    error_unit = 'degrees'
    unit_vectors = True
    meaning = 'unit vector, x right, y up, z toward the camera'

    def read(self, path: str | Path) -> Label:
        """``(H, W, 3)`` float32: ``.npy`` holds vectors; ``.png`` and ``.jpg`` hold (n + 1) / 2 *
        255, missing pixels grey or black.
        """
        stored = require_dims(read_array(path), 3, path, self.name)
        # As planes, which NumPy works on several times faster than on triples.
        planes = np.array(stored.transpose(2, 0, 1), np.float32, order='C')
        valid = planes.any(axis=0)
        if np.issubdtype(stored.dtype, np.integer):
            planes *= np.float32(2 / np.iinfo(stored.dtype).max)
            planes -= 1
        length = np.sqrt((planes**2).sum(axis=0))
        valid &= (length > SHORTEST_VALID) & (length < np.inf)
        length[~valid] = 1
        planes /= length
        normals = cv2.merge(list(planes))
        normals[~valid] = 0
        return Label(normals, valid)

    def flip(self, label: Label) -> Label:
        flipped = label.flip()
        flipped.value[..., 0] *= -1
        return flipped

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        stored = read_array(path)
        vectors = stored.astype(np.float64)
        if np.issubdtype(stored.dtype, np.integer):
            vectors = vectors * (2 / np.iinfo(stored.dtype).max) - 1
        length = np.linalg.norm(vectors, axis=2)
        away = label.valid & (label.value[..., 2] < 0)
        yield Doubt('NaN or infinity, which counts as missing', ~np.isfinite(length))
        yield Doubt(
            'not unit vectors, which they are made when read',
            (np.abs(length - 1) > UNIT_TOLERANCE) & (length > UNIT_TOLERANCE) & np.isfinite(length),
        )
        yield Doubt(
            'most point away from the camera: another convention?',
            away & (away.sum() > label.valid.sum() / 2),
        )
        yield from super().inspect(path, label)

    def resize_output(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        return F.normalize(super().resize_output(output, size), dim=1)

    def decode(self, output: Tensor) -> Tensor:
        """Unit vectors ``(N, 3, H, W)``."""
        return F.normalize(output.float(), dim=1)

    def constant_prediction(self, statistics: Tensor) -> Tensor:
        """The direction of the mean normal."""
        return F.normalize(super().constant_prediction(statistics), dim=0)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """(n + 1) / 2 * 255."""
        return np.clip(np.rint((prediction + 1) * 127.5), 0, 255).astype(np.uint8)

    def error(self, prediction: np.ndarray, label: Label) -> np.ndarray:
        """Angle between the two, degrees; 90 where the prediction is zero."""
        cosine = (prediction * label.value).sum(axis=2, dtype=np.float64)
        sine = np.linalg.norm(np.cross(prediction.astype(np.float64), label.value), axis=2)
        angle = np.degrees(np.arctan2(sine, cosine))
        angle[~prediction.any(axis=2)] = 90
        return self.where_counted(angle, label)
