"""Surface normals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from m2h_mm.geometry.directions import unit_vectors
from m2h_mm.geometry.normal_convention import OURS, parse_axes, to_ours
from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.structures.orientation import turned_axes
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.doubt import Doubt
from m2h_mm.tasks.files import read_array, require_dims
from m2h_mm.tasks.numbers import equals_any, magnitude, parse_numbers

from .encoding import decode_range, default_range, doubts_of_encoding, fitting_range
from .label_format import NormalsFormat

# 8-bit storage keeps valid vectors within 0.02 of unit length and puts "missing" (grey) at 0.007.
SHORTEST_VALID = 0.5
STEPS = 4  # every so many-th row tells the mean
LARGEST = 1000  # times the range; what is larger is no prediction of a unit vector


@TASKS.register_module('normals')
class Normals(Task):
    """Unit surface normals in the camera frame: x right, y up, z toward the camera.

    Labels, outputs and predictions are unit vectors; files hold grey, black or (0, 0, 0) where they
    are missing, see :class:`NormalsFormat`.
    """

    channels = 3
    label_channels = 3
    metric = 'mean'
    largest_metric = 180.0  # degrees
    error_unit = 'degrees'
    unit_vectors = True
    meaning = 'unit vector, x right, y up, z toward the camera'
    label_format = NormalsFormat()

    def read(self, path: str | Path) -> Label:
        """``(H, W, 3)`` float32: ``.npy`` holds vectors; ``.png`` and ``.jpg`` hold (n + 1) / 2 *
        255, missing pixels grey or black; or what the format says.

        Raises:
            ValueError: not ``(H, W, 3)``, no numbers, or integers whose range is not known.
        """
        return self._label(require_dims(read_array(path), 3, path, self.name), path)

    def _label(self, stored: np.ndarray, path: str | Path) -> Label:
        with np.errstate(over='ignore', invalid='ignore'):
            # As planes, which NumPy works on several times faster than on triples.
            planes = np.array(stored.transpose(2, 0, 1), np.float32, order='C')
            valid = planes.any(axis=0)
            if invalid := parse_numbers('invalid', self.label_format.invalid):
                valid &= ~equals_any(stored, invalid).all(axis=2)
            decode_range(planes, self._range(stored, path))
            length = np.sqrt((planes**2).sum(axis=0))
            valid &= (length > SHORTEST_VALID) & (length < np.inf)
            length[~valid] = 1
            planes /= length
        normals = cv2.merge(list(planes))
        normals[~valid] = 0
        axes = parse_axes(self.label_format.convention)
        if axes != OURS:
            normals = to_ours(normals, axes)
        return Label(normals, valid)

    def _range(self, stored: np.ndarray, path: str | Path) -> Sequence[float]:
        """The numbers that stand for -1 and 1 in a file."""
        limits = self.label_format.range or default_range(stored.dtype)
        if limits is None:
            fitting = list(fitting_range(stored.reshape(-1, 3)) or (0, 255))
            raise ValueError(
                f'File {path} of task {self.name!r}: expected vectors in floating point, or 8 or '
                f'16 bits without a sign, got {stored.dtype} in {stored.min()}..{stored.max()}. '
                f'Say which numbers stand for -1 and 1, such as {self.to_state("range", fitting)}.'
            )
        return limits

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W, 3)`` float32, as :meth:`read`.

        Raises:
            ValueError: numbers that are not finite, or no unit vectors but some in another range.
        """
        stored = require_dims(read_array(path), 3, path, self.name)
        label = self._label(stored, path)
        largest = max(map(abs, self._range(stored, path)))
        if not (np.isfinite(stored).all() and magnitude(stored) <= LARGEST * largest):
            raise ValueError(
                f'File {path} of task {self.name!r}: expected unit vectors, got NaN, infinity or '
                f'numbers above {LARGEST * largest:g}.'
            )
        for doubt in self._doubts_of_encoding(stored, path):
            if doubt.certain:
                raise ValueError(f'File {path} of task {self.name!r}: {doubt}')
        return label.value

    def flip(self, label: Label) -> Label:
        flipped = label.flip()
        flipped.value[..., 0] *= -1
        return flipped

    def turn(self, label: Label, orientation: int) -> Label:
        turned = label.turn(orientation)
        axes = turned_axes(orientation) * [[1, -1], [-1, 1]]  # y is up
        vectors = turned.value.copy()
        vectors[..., :2] = vectors[..., :2] @ axes.T
        return Label(vectors, turned.valid)

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        yield from self._doubts_of_encoding(read_array(path), path)
        away = label.valid & (label.value[..., 2] < 0)
        yield Doubt(
            'most point away from the camera: another convention?',
            away & (away.sum() > label.valid.sum() / 2),
            advice='m2h-mm check-normals finds it where there is depth; it is stated by '
            f'{self.to_state("convention", "x,-y,-z")}.',
        )
        yield from super().inspect(path, label)

    def _doubts_of_encoding(self, stored: np.ndarray, path: str | Path) -> Iterator[Doubt]:
        if invalid := parse_numbers('invalid', self.label_format.invalid):
            stored = np.where(equals_any(stored, invalid).all(axis=2, keepdims=True), 0, stored)
        other = self.to_state('range', '{}').replace("'", '')
        return doubts_of_encoding(stored, self._range(stored, path), other)

    def explain(self, paths: Sequence[Path], labels: Sequence[Label]) -> str:
        known = np.concatenate([label.value[::STEPS][label.valid[::STEPS]] for label in labels])
        if not known.size:
            return ''
        stored = read_array(paths[0])
        low, high = self._range(stored, paths[0])
        mean = ', '.join(f'{value:.2f}' for value in known.mean(axis=0))
        stated = self.label_format != type(self).label_format
        return (
            f'{stored.dtype} {paths[0].suffix} read as {self.label_format.convention} from {low:g} '
            f'to {high:g}, mean ({mean})'
            + ('' if stated else f' ({self.to_state("range")} says another)')
        )

    def resize_output(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        return unit_vectors(super().resize_output(output, size))

    def mirror_output(self, output: Tensor) -> Tensor:
        return output.flip(-1) * output.new_tensor([-1, 1, 1]).view(3, 1, 1)

    def mean_output(self, outputs: Tensor) -> Tensor:
        return unit_vectors(super().mean_output(outputs))

    def decode(self, output: Tensor) -> Tensor:
        """Unit vectors ``(N, 3, H, W)``."""
        return unit_vectors(output.float())

    def constant_prediction(self, statistics: Tensor) -> Tensor:
        """The direction of the mean normal."""
        return unit_vectors(super().constant_prediction(statistics), dim=0)

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
