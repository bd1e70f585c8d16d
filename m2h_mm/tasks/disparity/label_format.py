"""How files of disparity are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m2h_mm.tasks.label_format import LabelFormat
from m2h_mm.tasks.numbers import parse_numbers, parse_scale

UNITS = {'px': (1.0, 1.0)}


@dataclass(frozen=True)
class DisparityFormat(LabelFormat):
    """How files of disparity are read.

    Attributes:
        unit: what 1 in a file stands for: 'px', or pixels as a number or a fraction: '1/256'
            (KITTI). Default: pixels in floating point; 16-bit integers are 256 * pixels + 1, as of
            Cityscapes; other integers are refused.
        offset: what is subtracted from the numbers first, where the unit is stated: 1 for
            Cityscapes. Default: 0.
        invalid: numbers of a file that stand for no measurement. What is 0, negative, NaN or
            infinite, or comes to that, never is one. Default: none.
    """

    unit: str | float | None = None
    offset: float = 0
    invalid: float | Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.unit is not None:
            parse_scale('unit', self.unit, UNITS)
        if len(parse_numbers('offset', self.offset)) != 1:
            raise ValueError(f'offset: expected one number, got {self.offset!r}.')
        if self.offset and self.unit is None:
            raise ValueError(
                f'offset: {self.offset!r} is subtracted where the unit is stated, such as '
                "unit='1/256', and it is not."
            )
        parse_numbers('invalid', self.invalid)
