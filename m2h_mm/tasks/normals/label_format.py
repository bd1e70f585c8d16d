"""How files of normals are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from m2h_mm.geometry.normal_convention import OURS, parse_axes
from m2h_mm.tasks.label_format import LabelFormat
from m2h_mm.tasks.numbers import parse_numbers


@dataclass(frozen=True)
class NormalsFormat(LabelFormat):
    """How files of normals are read.

    Attributes:
        range: the numbers that stand for -1 and for 1: [-1, 1], [0, 1] for (n + 1) / 2,
            [0, 255], [0, 65535], [-32767, 32767]. Default: [-1, 1] in floating point, [0, 255] in
            uint8, [0, 65535] in uint16; other integers are refused.
        convention: what the three channels hold in terms of x right, y up, z toward the camera:
            'x,y,z', or for instance 'x,-y,-z'; or a name, see
            :data:`~m2h_mm.geometry.normal_convention.CONVENTIONS`. Default: 'x,y,z'.
        invalid: numbers that all three channels hold where nothing is known, such as 255 for white.
            Black and grey (the middle of the range), NaN and infinity always are. Default: none.
    """

    range: Sequence[float] | None = None
    convention: str = OURS
    invalid: float | Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.range is not None:
            numbers = parse_numbers('range', self.range)
            if len(numbers) != 2 or not -math.inf < numbers[0] < numbers[1] < math.inf:
                raise ValueError(
                    'range: expected the numbers that stand for -1 and 1, such as [0, 1]; got '
                    f'{self.range!r}.'
                )
        if isinstance(self.convention, (list, tuple)):  # as a command line gives 'x,-y,-z'
            object.__setattr__(self, 'convention', ','.join(map(str, self.convention)))
        try:
            parse_axes(self.convention)
        except ValueError as error:
            raise ValueError(f'convention: {error}') from None
        parse_numbers('invalid', self.invalid)
