"""How the files of a data set number, or colour, the classes of semantic segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from m2h_mm.tasks.label_format import LabelFormat

VOID = 255  # a pixel without a class
LARGEST = 65535  # of the numbers in a file
OF_DATASET = 'dataset'


@dataclass(frozen=True)
class SemsegFormat(LabelFormat):
    """From the numbers or colours in a file to class ids, which count from 0.

    Attributes:
        first: number of the first class, 0 or 1. Default: 0; 1 where ``reduce_zero_label`` is set.
        ids: numbers of the classes where they are not consecutive: a list, the number of each
            class in their order (``[7, 8, 11]``), or a dict of number to class id, which may give
            several numbers one class. ``first`` then says nothing. Default: ``first``,
            ``first + 1``, ...
        void: number or numbers that stand for no class. In labels only. Default: 255, unless it is
            a class, and 0 where ``first`` is 1.
        palette: colours, where the files are pictures (RGB, or with a palette whose order means
            nothing): a list with the colour (R, G, B) of each class, further ones are void; or a
            dict of number, as above, to a colour or a list of colours; or 'dataset', the
            ``palette`` of the data set's metainfo. Default: the files hold numbers, those with a
            palette as indices.

    Raises:
        ValueError: a value of another form.
    """

    first: int = 0
    ids: Mapping[int, int] | Sequence[int] | None = None
    void: int | Sequence[int] | None = None
    palette: Mapping[int, Any] | Sequence[Sequence[int]] | str | None = None

    def __post_init__(self) -> None:
        if type(self.first) is not int or self.first not in (0, 1):
            raise ValueError(f'first: expected 0 or 1, got {self.first!r}. Other numbers: ids.')
        if self.ids is not None:
            expected = 'a list of numbers, or a dict of number to class id'
            numbers = _whole(self.ids, 'ids', expected)
            if isinstance(self.ids, Mapping):
                _whole(list(self.ids.values()), 'ids', expected)
            if not isinstance(self.ids, Mapping) and len(set(numbers)) < len(numbers):
                raise ValueError(f'ids: a number occurs twice in {list(numbers)}.')
        if self.void is not None:
            _whole(_listed(self.void), 'void', 'a number or a list of numbers')
        if self.palette is not None and self.palette != OF_DATASET:
            self.colours()

    def numbers(self, num_classes: int) -> dict[int, int]:
        """Number in the file to class id, :data:`VOID` for those that stand for none.

        Raises:
            ValueError: a class id that is none, or a number that is both a class and void.
        """
        if self.ids is None:
            classes = {self.first + index: index for index in range(num_classes)}
        elif isinstance(self.ids, Mapping):
            classes = {int(number): int(index) for number, index in self.ids.items()}
        else:
            classes = {int(number): index for index, number in enumerate(self.ids)}
        wrong = [index for index in classes.values() if not 0 <= index < num_classes]
        if wrong:
            raise ValueError(
                f'ids: expected class ids 0..{num_classes - 1} for num_classes={num_classes}, got '
                f'{wrong[:8]}.'
            )
        if self.void is not None:
            void = [int(number) for number in _listed(self.void)]
        else:
            usual = (0, VOID) if self.first and self.ids is None else (VOID,)
            void = [number for number in usual if number not in classes]
        both = [number for number in void if number in classes]
        if both and self.ids is not None:
            raise ValueError(f'void: {both} are classes according to ids.')
        return classes | dict.fromkeys(void, VOID)

    def colours(self) -> list[tuple[int | None, tuple[int, int, int]]]:
        """The colour table: number in the file (None: the class of this place) and colour.

        Raises:
            ValueError: something that is no colour, or one colour twice.
        """
        if isinstance(self.palette, Mapping):
            table = [
                (int(number), _colour(colour))
                for number, colours in self.palette.items()
                for colour in (colours if _nested(colours) else [colours])
            ]
        elif _nested(self.palette):
            table = [(None, _colour(colour)) for colour in self.palette]
        else:
            raise ValueError(
                'palette: expected a list of colours (R, G, B), a dict of number to colour, or '
                f'{OF_DATASET!r}, got {self.palette!r}.'
            )
        colours = [colour for _, colour in table]
        twice = sorted({colour for colour in colours if colours.count(colour) > 1})
        if twice:
            raise ValueError(f'palette: the colours {twice[:4]} occur twice.')
        return table

    def coloured(self, num_classes: int) -> dict[tuple[int, int, int], int]:
        """Colour to class id, :data:`VOID` for those that stand for none.

        Raises:
            ValueError: a number that is no class, or fewer colours than classes.
        """
        numbers = self.numbers(num_classes)
        table = self.colours()
        unknown = [number for number, _ in table if number is not None and number not in numbers]
        if unknown:
            raise ValueError(
                f'palette: {unknown[:8]} are neither classes nor void; expected numbers of '
                f'{sorted(numbers)[:4]}, ...'
            )
        if not isinstance(self.palette, Mapping) and len(table) < num_classes:
            raise ValueError(
                f'palette: expected a colour for each of the {num_classes} classes, got '
                f'{len(table)}.'
            )
        return {
            colour: numbers[number]
            if number is not None
            else (place if place < num_classes else VOID)
            for place, (number, colour) in enumerate(table)
        }


def _listed(value: Any) -> Sequence:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _nested(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) > 0
        and all(isinstance(item, Sequence) and not isinstance(item, str) for item in value)
    )


def _whole(values: Any, key: str, expected: str) -> list[int]:
    """``values`` as numbers that a file can hold."""
    try:
        numbers = [int(value) for value in values]
        good = all(0 <= number <= LARGEST for number in numbers) and numbers == [
            float(value) for value in values
        ]
    except (TypeError, ValueError, OverflowError):
        good = False
    if not good or isinstance(values, str):
        raise ValueError(f'{key}: expected {expected}, 0..{LARGEST}, got {values!r}.')
    return numbers


def _colour(value: Any) -> tuple[int, int, int]:
    try:
        red, green, blue = (int(part) for part in value)
    except (TypeError, ValueError, OverflowError):
        red = -1
    if red < 0 or not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f'palette: expected colours (R, G, B) of 0..255, got {value!r}.')
    return red, green, blue
