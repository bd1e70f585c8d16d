"""Stereo disparity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.doubt import Doubt
from m2h_mm.tasks.numbers import parse_scale, to_float32
from m2h_mm.tasks.positive import PositiveTask
from m2h_mm.tasks.positive_doubts import negative_numbers, signs_for_nothing

from .label_format import UNITS, DisparityFormat

STEPS_PER_PIXEL = 256.0
WIDEST = 2000.0  # pixels; no camera sees a shift as wide as most pictures


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
    label_format = DisparityFormat()

    def to_units(self, stored: np.ndarray, path: str | Path) -> np.ndarray:
        """Pixels ``(H, W)`` float32, as :class:`DisparityFormat` says.

        Raises:
            ValueError: integers other than uint16 in a unit that is not stated.
        """
        form = self.label_format
        if form.unit is not None:
            factor, divisor = parse_scale('unit', form.unit, UNITS)
            shifted = to_float32(stored) - np.float32(form.offset)
            return shifted * np.float32(factor) / np.float32(divisor)
        if stored.dtype == np.uint16:
            return pixels_from_png(stored)
        if stored.dtype.kind != 'f':
            raise ValueError(
                f'File {path} of task {self.name!r}: expected a 16-bit .png of 256 * pixels + 1, '
                f'or pixels in floating point, got {stored.dtype}. Say what 1 stands for, such as '
                f'{self.to_state("unit", "1/256")}.'
            )
        return to_float32(stored)

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        stored = self._stored(path)
        yield from negative_numbers(
            stored, 'Write disparity as positive numbers, 0 where there is none.'
        )
        known = self.label_format.unit is not None
        invalid = self.to_state('invalid', '{}').replace("'", '')
        yield from signs_for_nothing(stored, label.valid, label.value > WIDEST, invalid)
        advice = f'Say what 1 stands for, such as {self.to_state("unit", "1/256")}.'
        wide = label.value > WIDEST
        yield Doubt(
            f'mostly above {WIDEST:g} px: another unit?',
            wide & (2 * wide.sum() > label.valid.sum()),
            advice=advice,
        )
        yield Doubt(
            'below 1 px everywhere: another unit?',
            label.valid & (label.value.max(initial=0) < 1) & (not known),
            advice=advice,
        )
        yield from super().inspect(path, label)

    def explain(self, paths: Sequence[Path], labels: Sequence[Label]) -> str:
        pixels = np.concatenate([label.value[label.valid] for label in labels])
        if self.label_format.unit is not None or not pixels.size:
            return ''
        stored = self._stored(paths[0])
        meaning = 'pixels' if stored.dtype.kind == 'f' else '256 * pixels + 1'
        return (
            f'{stored.dtype} {paths[0].suffix} read as {meaning}: {pixels.min():.2g} to '
            f'{pixels.max():.3g} px ({self.to_state("unit")} says another)'
        )

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
