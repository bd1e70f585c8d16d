"""The base class of edges and saliency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from m2h_mm.structures import Label
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.binary_format import BinaryFormat, share_of_yes
from m2h_mm.tasks.doubt import Doubt
from m2h_mm.tasks.files import read_array, require_dims

NAMED = 6
# Types whose largest number is taken for the probability 1 in a prediction.
FULL_RANGE = (np.uint8, np.uint16)


class BinaryTask(Task):
    """A task of yes and no: labels are 1 or 0, predictions probabilities. How files store them
    can be stated, see :class:`BinaryFormat`.
    """

    prediction_suffix = '.png'
    largest_metric = 100.0  # percent
    label_format: BinaryFormat = BinaryFormat()

    def mean_output(self, outputs: Tensor) -> Tensor:
        """The logits of the mean probabilities."""
        if outputs.shape[2] == 2:
            return outputs.float().log_softmax(dim=2).logsumexp(dim=0)
        return torch.logit(outputs.float().sigmoid().mean(dim=0), eps=1e-6)

    def read(self, path: str | Path) -> Label:
        """``(H, W)`` uint8, 1 above half of the way from no to yes, else 0; not known where the
        file holds a number of void.

        Raises:
            ValueError: not ``(H, W)``, numbers that are neither, or 255 of which it is not clear
                whether it stands for yes or for void.
        """
        stored = self._stored(path)
        if stored.dtype != np.uint8:
            return self._label(stored, path)
        # Most files: what each of the 256 numbers is, looked up.
        stored = np.ascontiguousarray(stored)
        counts = cv2.calcHist([stored], [0], None, [256], [0, 256])
        numbers = np.flatnonzero(counts).astype(np.uint8)
        label = self._label(numbers, path)
        value, valid = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
        value[numbers], valid[numbers] = label.value, label.valid
        return Label(cv2.LUT(stored, value), cv2.LUT(stored, valid).astype(bool))

    def _label(self, stored: np.ndarray, path: str | Path) -> Label:
        """What numbers of a label, of any shape, stand for."""
        yes, no = self._label_levels(stored, path)
        voids = self.label_format.voids(yes, no)
        void = np.isin(stored, voids)
        share = share_of_yes(stored, yes, no)
        odd = ~((share >= 0) & (share <= 1) | void)
        if odd.any():
            raise ValueError(
                f'File {path} of task {self.name!r}: expected {no:g} (no) to {yes:g} (yes)'
                + (f' and {" and ".join(f"{value:g}" for value in voids)} (void)' if voids else '')
                + f', got {_some(stored[odd])}. '
                + (
                    'Write a number of void instead of NaN, such as 255.'
                    if np.isnan(stored[odd]).any()
                    else f'State what they are: {self.to_state("yes")}, {self.to_state("void")}.'
                )
            )
        return Label((share > 0.5).astype(np.uint8) * ~void, ~void)

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        stored = self._stored(path)
        yes, no = self._label_levels(stored, path)
        yield Doubt(
            f'other values than {no:g} and {yes:g}', label.valid & (stored != no) & (stored != yes)
        )
        yield from super().inspect(path, label)

    def read_prediction(self, path: str | Path) -> np.ndarray:
        """``(H, W)`` float32 probabilities: floating point numbers and True or False are theirs;
        uint8 and uint16 are multiples of 1/255 and 1/65535; other integers are 0 and 1.

        Raises:
            ValueError: not ``(H, W)``, or values outside 0..1.
        """
        stored = self._stored(path)
        yes, no = self._prediction_levels(stored)
        probability = share_of_yes(stored, yes, no)
        if not (probability.min() >= 0 and probability.max() <= 1):
            logits = (
                ''
                if self.label_format.yes or stored.dtype.kind != 'f'
                else ('Apply the sigmoid before saving; or, i')
            )
            way_out = (
                f'{logits or "I"}f another number stands for the probability 1, state it: '
                f'{self.to_state("yes")}.'
            )
            raise ValueError(
                f'File {path} of task {self.name!r}: expected probabilities in 0..1, got '
                f'{stored.min():g}..{stored.max():g} ({stored.dtype}), where {no:g} stands for 0 '
                f'and {yes:g} for 1. {way_out}'
            )
        return probability

    def look_at_predictions(self, paths: Sequence[Path]) -> None:
        """Refuses files that, all of them, are nearly 0 when read as is usual for their type: 0 and
        1 in 8 bits, 0 to 255 in 16.
        """
        if self.label_format.yes is not None:
            return
        largest = [(array.dtype, int(array.max())) for array in map(self._stored, paths)]
        for dtype, usual in (np.uint8, 1), (np.uint16, 255):
            values = [value for kind, value in largest if kind == dtype]
            if values and len(values) == len(largest) and 0 < max(values) <= usual:
                raise ValueError(
                    f'Predictions of task {self.name!r}, such as {paths[0]}: none of {len(paths)} '
                    f'files holds a number above {max(values)}, although {np.iinfo(dtype).max} '
                    f'stands for the probability 1 in {np.dtype(dtype).name}. '
                    f'If {usual} does, state {self.to_state("yes", usual)}; if not, '
                    f'yes={np.iinfo(dtype).max}.'
                )

    def for_predictions(self, **settings: Any) -> BinaryTask:
        if settings.get('void') is not None:
            raise ValueError(f'{self.name}.void: a prediction says something of every pixel.')
        return super().for_predictions(**settings)

    def to_png(self, prediction: np.ndarray) -> np.ndarray:
        """Probabilities as uint8, rounded to multiples of 1/255."""
        return np.rint(np.clip(prediction, 0, 1) * 255).astype(np.uint8)

    def _stored(self, path: str | Path) -> np.ndarray:
        return require_dims(read_array(path), 2, path, self.name, booleans=True)

    def _label_levels(self, stored: np.ndarray, path: str | Path) -> tuple[float, float]:
        yes, no = self.label_format.levels(stored, path)
        if self.label_format.yes is not None or stored.dtype == bool:
            return yes, no
        largest, has_one = stored.max(), (stored == 1).any()
        if has_one and largest == 1:
            return 1, 0
        has_255 = (stored == 255).any()
        void_or_yes = has_255 and ((stored == 0) | (stored == 1) | (stored == 255)).all()
        # 255 is yes in a PNG without 1, and void beside 1 in another file.
        if void_or_yes and has_one == (yes != 1):
            beside = '0 and 1' if has_one else '0'
            raise ValueError(
                f'File {path} of task {self.name!r} holds {beside} and 255, which may stand for '
                f'yes or for void. State it: {self.to_state("yes", 1)} (255 is void then), or 255.'
            )
        return yes, no

    def _prediction_levels(self, stored: np.ndarray) -> tuple[float, float]:
        form = self.label_format
        if form.yes is not None:
            return form.yes, form.no or 0
        return (np.iinfo(stored.dtype).max if stored.dtype in FULL_RANGE else 1), 0


def _some(values: np.ndarray) -> str:
    some = np.unique(values)
    return ', '.join(f'{value:g}' for value in some[:NAMED]) + (', ...' * (len(some) > NAMED))
