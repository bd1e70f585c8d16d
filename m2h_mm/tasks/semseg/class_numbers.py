"""Looking up the classes of a file's numbers or colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from m2h_mm.tasks.files import read_array, require_dims

from .label_format import LARGEST, VOID, SemsegFormat

UNKNOWN = 254  # neither a class nor void; classes are 0..253


class ClassNumbers:
    """Reads files as a format says.

    Args:
        format: what the numbers or colours stand for.
        num_classes: number of classes.

    Raises:
        ValueError: they do not agree, see :class:`SemsegFormat`.
    """

    def __init__(self, format: SemsegFormat, num_classes: int) -> None:
        self.format = format
        self.num_classes = num_classes
        self.known = format.numbers(num_classes)
        self._table = np.full(LARGEST + 1, UNKNOWN, np.uint8)
        self._table[list(self.known)] = list(self.known.values())
        self._colours = None
        if format.palette is not None:
            coloured = format.coloured(num_classes)
            packed = _packed(np.array(list(coloured), np.uint8)[None])[0]
            order = np.argsort(packed)
            self._colours = packed[order], np.array(list(coloured.values()), np.uint8)[order]

    def stored(self, path: str | Path, task: str) -> np.ndarray:
        """What a file holds: numbers ``(H, W)``, or colours ``(H, W, 3)`` uint8.

        Raises:
            ValueError: neither.
        """
        if self._colours is None:
            # Of two classes, False and True can be nothing else.
            return require_dims(read_array(path), 2, path, task, booleans=self.num_classes == 2)
        stored = read_array(path, colours=True)
        if Path(path).suffix.lower() == '.jpg' or stored.dtype != np.uint8:
            raise ValueError(
                f'File {path} of task {task!r}: expected colours of 8 bits in a .png, as '
                f'{task}.palette says, got {stored.dtype} in a {Path(path).suffix}.'
            )
        return stored if stored.ndim == 3 else np.repeat(stored[..., None], 3, axis=2)

    def classes(self, stored: np.ndarray) -> np.ndarray:
        """Class ids ``(H, W)`` uint8, :data:`VOID` where there is none, :data:`UNKNOWN` where a
        number or colour is not known.
        """
        if self._colours is not None:
            colours, classes = self._colours
            packed = _packed(stored)
            place = np.minimum(np.searchsorted(colours, packed), len(colours) - 1)
            return np.where(colours[place] == packed, classes[place], np.uint8(UNKNOWN))
        if stored.dtype in (np.uint8, bool):
            return cv2.LUT(stored.astype(np.uint8), self._table[:256])
        with np.errstate(invalid='ignore'):
            number = stored.astype(np.int64)
        fits = (number == stored) & (number >= 0) & (number <= LARGEST)
        return np.where(fits, self._table[np.where(fits, number, 0)], np.uint8(UNKNOWN))

    def others(self, stored: np.ndarray, unknown: np.ndarray) -> str:
        """The numbers or colours that are not known, the first of them, in words."""
        if self._colours is None:
            return f'the values {np.unique(stored[unknown])[:8].tolist()}'
        packed = np.unique(_packed(stored)[unknown])[:8]
        return f'the colours {[(int(n) >> 16, int(n) >> 8 & 255, int(n) & 255) for n in packed]}'

    def expected(self, void: bool = True) -> str:
        """The numbers or colours that are known, in words."""
        if self._colours is not None:
            return f'the {len(self._colours[0])} colours of the palette'
        numbers = sorted(number for number, index in self.known.items() if index != VOID)
        last = numbers[-1]
        text = (
            f'{numbers[0]}..{last}'
            if numbers == list(range(numbers[0], last + 1))
            else f'{numbers[:8]}{", ..." if len(numbers) > 8 else ""}'
        )
        voids = sorted(number for number, index in self.known.items() if index == VOID)
        text += f' for num_classes={self.num_classes}'
        return f'{text}, and {" and ".join(map(str, voids))} for void' if void and voids else text


def _packed(colours: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8 as one number each."""
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return red << 16 | green << 8 | blue
