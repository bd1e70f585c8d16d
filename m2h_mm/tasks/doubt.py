"""What looks wrong about a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Doubt:
    """One thing that looks wrong about a label file that can be read.

    Attributes:
        what: what it is, the same words for the same thing whatever the file.
        pixels: ``(H, W)`` bool, where; if nowhere, there is no doubt.
        certain: no file of the task that is read rightly looks so: an error, else a warning.
        advice: the way out, such as the setting that mends it: a sentence.
    """

    what: str
    pixels: np.ndarray
    certain: bool = False
    advice: str = ''

    def __str__(self) -> str:
        if not self.advice:
            return self.what
        return f'{self.what}{"" if self.what.endswith("?") else "."} {self.advice}'


def shared_doubts(found: Sequence[Iterable[Doubt]]) -> list[Doubt]:
    """The doubts of the first of several files that all of them raise."""
    files = [[doubt for doubt in doubts if doubt.pixels.any()] for doubts in found]
    others = [{doubt.what for doubt in doubts} for doubts in files[1:]]
    return [doubt for doubt in files[0] if all(doubt.what in whats for whats in others)]
