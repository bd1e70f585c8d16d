"""How files tell yes from no: edges and saliency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np

from m2h_mm.tasks.label_format import LabelFormat

USUAL_VOID = 255
MOST = 1e30  # of a number in a file


@dataclass(frozen=True)
class BinaryFormat(LabelFormat):
    """The numbers of a file that stand for yes and no; what lies between is a probability.

    Attributes:
        yes: number of what is certainly one. Default: in a ``.png`` the largest of its type, 255
            or 65535, but 1 where a label holds only 0 and 1; elsewhere 1. True, where a file holds
            True and False.
        no: number of what is certainly none. With ``yes=0, no=255`` inverted pictures are read.
            Default: 0.
        void: number or numbers of pixels of which nothing is known. In labels only. Default: 255,
            unless it lies between ``no`` and ``yes``.

    Raises:
        ValueError: a value of another form, ``no`` without ``yes``, or equal numbers.
    """

    yes: float | None = None
    no: float | None = None
    void: float | Sequence[float] | None = None

    def __post_init__(self) -> None:
        for key in ('yes', 'no'):
            value = getattr(self, key)
            if value is not None and not _is_number(value):
                raise ValueError(f'{key}: expected a number, got {value!r}.')
        if self.no is not None and self.yes is None:
            raise ValueError(f'no: expected yes too, such as yes=0 with no={self.no}.')
        if self.yes is not None and self.yes == (self.no or 0):
            raise ValueError(f'yes: expected another number than that of no, got {self.yes}.')
        if self.void is not None:
            if isinstance(self.void, str) or not all(map(_is_number, _listed(self.void))):
                raise ValueError(
                    f'void: expected a number or a list of numbers, got {self.void!r}.'
                )
            both = {self.yes, self.no or 0} & set(_listed(self.void))
            if both:
                raise ValueError(f'void: {sorted(both)} stands for yes or no already.')

    def levels(self, stored: np.ndarray, path: str | Path) -> tuple[float, float]:
        """The numbers of yes and no in a label or a prediction, by its type where not stated."""
        if self.yes is not None:
            return self.yes, self.no or 0
        is_png = Path(path).suffix.lower() == '.png' and stored.dtype != bool
        return (np.iinfo(stored.dtype).max if is_png else 1), 0

    def voids(self, yes: float, no: float) -> list[float]:
        """The numbers of what is not known."""
        if self.void is not None:
            return _listed(self.void)
        return [] if min(yes, no) <= USUAL_VOID <= max(yes, no) else [USUAL_VOID]


def share_of_yes(stored: np.ndarray, yes: float, no: float) -> np.ndarray:
    """``stored (H, W)`` as float32 from 0 at ``no`` to 1 at ``yes``."""
    with np.errstate(over='ignore'):
        share = stored.astype(np.float32)
    return share / np.float32(yes) if no == 0 else (share - np.float32(no)) / np.float32(yes - no)


def _listed(value: float | Sequence[float]) -> list[float]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) <= MOST
