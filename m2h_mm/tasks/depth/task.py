"""Metric depth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.doubt import Doubt, shared_doubts
from m2h_mm.tasks.numbers import parse_scale, to_float32
from m2h_mm.tasks.positive import PositiveTask
from m2h_mm.tasks.positive_doubts import (
    negative_numbers,
    signs_for_nothing,
    signs_of_scaling,
)

from .label_format import UNITS, DepthFormat

MILLIMETRES = np.float32(1000)
NAMES = {'m': 'metres', 'cm': 'centimetres', 'mm': 'millimetres'}
# A map that ends nearer than that is in another unit, unless that is stated: metres, and what 8
# bits of millimetres reach.
NEAREST, NEAREST_OF_INTEGERS = 0.1, 0.255
NEARER = 50  # a unit fits if half of the numbers lie between max_depth and so many times less
STEPS = 16  # every so many-th number tells the median


@TASKS.register_module('depth')
class Depth(PositiveTask):
    """Distance along the optical axis, in metres.

    Labels, outputs and predictions are metres; files hold 0 where nothing was measured.

    Args:
        min_depth: smallest prediction, metres.
        max_depth: largest prediction, metres.
    """

    metric = 'rmse'
    error_unit = 'm'
    meaning = 'metres along the optical axis'
    grows_with_focal = True
    label_format = DepthFormat()

    def __init__(self, min_depth: float = 1e-3, max_depth: float = 10.0) -> None:
        if not 0 < min_depth < max_depth:
            raise ValueError(
                f'tasks.depth: expected 0 < min_depth < max_depth in metres, got {min_depth} and '
                f'{max_depth}.'
            )
        self.min_depth = min_depth
        self.max_depth = max_depth

    def to_units(self, stored: np.ndarray, path: str | Path) -> np.ndarray:
        """Metres ``(H, W)`` float32, as :class:`DepthFormat` says.

        Raises:
            ValueError: 8 bits in a unit that is not stated.
        """
        eight_bits = stored.dtype.kind in 'iu' and stored.dtype.itemsize == 1
        if self.label_format.unit is None and eight_bits and stored.any():
            raise ValueError(
                f'File {path} of task {self.name!r}: 8 bits of millimetres end at 0.255 m. Say '
                f'what 1 stands for, such as {self.to_state("unit", "10/255")} where 255 is 10 m, '
                'or write 16 bits of millimetres, or metres in floating point.'
            )
        factor, divisor = parse_scale('unit', self._unit(stored), UNITS)
        metres = to_float32(stored)
        if factor != 1:
            metres = metres * np.float32(factor)
        return metres if divisor == 1 else metres / np.float32(divisor)

    def zoom(self, label: Label, scale: float, size: tuple[int, int]) -> Label:
        label = label.resize(size)
        return Label(label.value / np.float32(scale), label.valid)

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        stored = self._stored(path)
        invalid = self.to_state('invalid', '{}').replace("'", '')
        beyond = label.value > self.max_depth
        yield from signs_for_nothing(stored, label.valid, beyond, invalid)
        yield from self._doubts_of_numbers(stored, label)
        yield from super().inspect(path, label)

    def look_at_predictions(self, paths: Sequence[Path]) -> None:
        """Warns of what looks wrong about all of them, such as another unit."""
        found = [self._doubts_of_numbers(self._stored(path), self.read(path)) for path in paths]
        for doubt in shared_doubts(found):
            text = f'Predictions of task {self.name!r}, such as {paths[0]}: {doubt}'
            if doubt.certain:
                raise ValueError(text)
            print_log(text, 'current', logging.WARNING)

    def _doubts_of_numbers(self, stored: np.ndarray, label: Label) -> Iterator[Doubt]:
        """What the numbers of a file tell, of labels and predictions alike."""
        yield from negative_numbers(
            stored, 'Write depth as positive numbers, 0 where there is none.'
        )
        if self.label_format.unit is None:
            yield from signs_of_scaling(stored, label.valid, self.to_state('unit', 'mm'))
        yield from self._doubts_of_unit(stored, label, label.value > self.max_depth)

    def _doubts_of_unit(
        self, stored: np.ndarray, label: Label, beyond: np.ndarray
    ) -> Iterator[Doubt]:
        known = self.label_format.unit is not None
        limit = NEAREST_OF_INTEGERS if stored.dtype.kind in 'iu' else NEAREST
        far = 2 * beyond.sum() > label.valid.sum()
        near = not known and label.value.max(initial=0) <= limit
        if not (far or near):
            return
        units = [] if known else self._fitting_units(stored[label.valid][::STEPS])
        others = ' or '.join(self.to_state('unit', unit) for unit in units)
        other = f'It would fit with {others}. ' if others else ''
        if far:
            yield Doubt(
                f'mostly beyond max_depth = {self.max_depth:g} m, which is never predicted'
                + ('' if known else ': another unit?'),
                beyond,
                advice=f'{other}If these are metres, raise tasks.{self.name}.max_depth.',
            )
        else:
            yield Doubt(
                f'nearer than {limit} m everywhere: another unit?',
                label.valid,
                advice=f'{other}If it is right, say so: '
                f'{self.to_state("unit", self._unit(stored))}.',
            )

    def _fitting_units(self, numbers: np.ndarray) -> list[str]:
        """Units that put the middle of some numbers of a file where depth is expected."""
        if not numbers.size:
            return []
        units = [*UNITS, '1/256', '1/5000'] if numbers.dtype.kind in 'iu' else list(UNITS)
        if numbers.max() <= np.iinfo(np.uint8).max:
            units.append(f'{self.max_depth:g}/255')
        median = float(np.median(numbers))
        scales = {unit: parse_scale('unit', unit, UNITS) for unit in units}
        return [
            unit
            for unit, (factor, divisor) in scales.items()
            if self.max_depth / NEARER < median * factor / divisor < self.max_depth
        ]

    def explain(self, paths: Sequence[Path], labels: Sequence[Label]) -> str:
        metres = np.concatenate([label.value[label.valid] for label in labels])
        if not metres.size:
            return ''
        stored = self._stored(paths[0])
        unit = self._unit(stored)
        beyond = np.mean(metres > self.max_depth)
        return (
            f'{stored.dtype} {paths[0].suffix} read as {NAMES.get(unit, f"{unit} m")}: '
            f'{metres.min():.2g} to {metres.max():.3g} m, median {np.median(metres[::STEPS]):.2g} m'
            + (f', {beyond:.1%} beyond max_depth = {self.max_depth:g} m' if beyond else '')
            + ('' if self.label_format.unit else f' ({self.to_state("unit")} says another)')
        )

    def _unit(self, stored: np.ndarray) -> str | float:
        """The unit of a file."""
        stated = self.label_format.unit
        return stated if stated is not None else 'mm' if stored.dtype.kind in 'iu' else 'm'

    def decode(self, output: Tensor) -> Tensor:
        """Metres ``(N, 1, H, W)``, limited to the task's range."""
        return output.float().clamp(self.min_depth, self.max_depth)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """Millimetres, uint16; farther than 65.535 m is cut."""
        return np.rint(np.clip(prediction * MILLIMETRES, 0, np.iinfo(np.uint16).max)).astype(
            np.uint16
        )
