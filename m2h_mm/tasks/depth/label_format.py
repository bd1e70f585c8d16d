"""How files of depth are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m2h_mm.tasks.label_format import LabelFormat
from m2h_mm.tasks.numbers import parse_numbers, parse_scale

UNITS = {'m': (1.0, 1.0), 'cm': (1.0, 100.0), 'mm': (1.0, 1000.0)}


@dataclass(frozen=True)
class DepthFormat(LabelFormat):
    """How files of depth are read.

    Attributes:
        unit: what 1 in a file stands for: 'm', 'cm', 'mm', or metres as a number or a fraction:
            '1/5000' (TUM), '1/256' (KITTI), '10/255' (8 bits up to 10 m). Default: metres in
            floating point, millimetres in integers of 16 bits or more; 8 bits are refused.
        invalid: numbers of a file that stand for no measurement. What is 0, negative, NaN,
            infinite or beyond 1000 km never is one. Default: none.
    """

    unit: str | float | None = None
    invalid: float | Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.unit is not None:
            parse_scale('unit', self.unit, UNITS)
        parse_numbers('invalid', self.invalid)
