"""How a task looks: its colours, the key to them and the style of its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m2h_mm.registry import VIEWS
from m2h_mm.tasks.keys import RGB, KeyBlock, Scale, Tiles, round_numbers
from m2h_mm.tasks.shown import Map, Shown

if TYPE_CHECKING:
    from m2h_mm.tasks.base import Task

NO_VALUE: RGB = (112, 112, 112)
"""Colour of a pixel without a value."""


@dataclass(frozen=True)
class ErrorStyle:
    """How the errors of a task are shown.

    Attributes:
        text: a mean error as it is written below its map.
        limit: error of the darkest colour; None to take it from the data.
        suffix: what follows a number in the key.
        binary: an error is 0 or 1, right or wrong.
    """

    text: Callable[[float], str]
    limit: float | None = None
    suffix: str = ''
    binary: bool = False


class View:
    """How one task is drawn.

    This class draws every task that has no view of its own. ``(H, W)`` maps get a colour scale with
    the task's ``error_unit``. ``(H, W, 3)`` maps are taken for pictures with values in 0..1.

    Another look is a subclass, registered in :data:`~m2h_mm.registry.VIEWS` under the task's kind,
    in the file of the task or in one beside it. Most need :meth:`colours` and :meth:`key` only::

        @VIEWS.register_module('temperature')
        class TemperatureView(View):
            colormap = 'inferno'

    A view draws colours and describes keys as plain data; where these stand in a picture is decided
    in :mod:`m2h_mm.visualization`.

    Args:
        task: what is drawn.

    Class attributes:
        colormap: of Matplotlib, from the smallest number to the largest.
        number_format: of the two ends of a colour scale.
        wide_key: the key may be wider than a column where there is room, as names of classes are.
        heading: the task in words. Default: its name.
        palette: ``(N, 3)`` uint8 RGB, the colours of the ids of a task with classes; else None.
    """

    colormap: str = 'viridis'
    number_format: str = '.3g'
    wide_key: bool = False
    heading: str = ''
    palette: np.ndarray | None = None

    def __init__(self, task: Task) -> None:
        self.task = task

    @property
    def title(self) -> str:
        """The task in words; one that is not called like its kind goes by its own name."""
        if self.heading and self.task.name == self.task.kind:
            return self.heading
        return self.task.name.replace('_', ' ').capitalize()

    # ---- colours

    def draw(
        self,
        value: np.ndarray,
        valid: np.ndarray | None = None,
        limits: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """A map in colours.

        Args:
            value: ``(H, W)`` or ``(H, W, 3)``, finite, in the task's units.
            valid: ``(H, W)`` bool; the other pixels become :data:`NO_VALUE`. Default: all are.
            limits: smallest and largest number of the colour scale, in the task's units. Default:
                those of the valid pixels. A view without a scale ignores them.

        Returns:
            ``(H, W, 3)`` uint8 RGB.
        """
        if valid is None:
            valid = np.ones(value.shape[:2], bool)
        if limits is None:
            limits = self.limits(Shown(truth=Map(value, valid)))
        return np.where(valid[..., None], self.colours(value, limits), np.uint8(NO_VALUE))

    def colours(self, value: np.ndarray, limits: tuple[float, float] | None) -> np.ndarray:
        """The colour of every pixel, whether valid or not: ``(H, W, 3)`` uint8 RGB.

        Args:
            value: ``(H, W)`` or ``(H, W, 3)``, finite.
            limits: of the colour scale; None where :meth:`limits` returned None.

        Raises:
            ValueError: a map of another number of channels than 1 and 3.
        """
        if value.ndim == 2:
            return self.scaled(value, limits)
        if value.ndim == 3 and value.shape[2] == 3:
            return np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)
        raise ValueError(
            f'Task {self.task.name!r}: the default view draws (H, W) and (H, W, 3), got '
            f'{value.shape}. Register a view of your own with @VIEWS.register_module(kind).'
        )

    def scaled(self, value: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
        """Numbers ``(H, W)`` in the colours of :attr:`colormap`, those beyond the limits as the
        limits: ``(H, W, 3)`` uint8 RGB.
        """
        # Matplotlib takes a second to import, and a user's file with a task and its view is
        # imported by programs that draw nothing.
        import matplotlib

        low, high = limits
        share = np.clip((value - low) / max(high - low, 1e-6), 0, 1)
        return matplotlib.colormaps[self.colormap](share, bytes=True)[..., :3]

    def colour_of(self, value: float | Sequence[float]) -> RGB:
        """The colour of one value, for a view without a scale."""
        return tuple(self.colours(np.asarray(value)[None, None], None)[0, 0].tolist())

    # ---- what maps hold

    def holds_value(self, prediction: np.ndarray) -> np.ndarray:
        """Where a prediction says anything, ``(H, W)`` bool: where it is finite."""
        return np.isfinite(prediction).reshape(*prediction.shape[:2], -1).all(axis=2)

    def map_of(self, prediction: np.ndarray) -> Map:
        """A prediction ``(H, W)`` or ``(H, W, 3)``, which may hold NaN and infinity, as a map."""
        finite = np.nan_to_num(prediction, nan=0, posinf=0, neginf=0)
        return Map(finite, self.holds_value(prediction))

    def limits(self, shown: Shown) -> tuple[float, float] | None:
        """The colour scale that all shown maps share: smallest and largest valid number of the
        truth, or of the prediction where the truth has none. None where colours have no scale.
        """
        for map in shown.maps:
            if map.value.ndim != 2:
                return None
            if map.valid.any():
                return float(map.values.min()), float(map.values.max())
        return 0.0, 1.0

    def limits_of_video(self, first: Map) -> tuple[float, float] | None:
        """The colour scale of all frames of a video, whose ``first`` frame is known."""
        return self.limits(Shown(prediction=first))

    # ---- key and errors

    def class_names(self, classes: Sequence[str]) -> Sequence[str]:
        """Names of the task's ids, empty where they have none or where its values are no ids.

        Args:
            classes: names of the data set's segmentation classes.
        """
        return ()

    def key(
        self, shown: Shown, classes: Sequence[str] = (), width: int = 256, text: int = 13
    ) -> list[KeyBlock]:
        """The key to the colours, blocks that are put below one another.

        Args:
            shown: what the colours stand for.
            classes: names of the task's classes; may be shorter than the ids that occur.
            width: pixels that a colour scale fills, its frame included.
            text: height of the text, pixels, which other pictures in a key are measured by.
        """
        if not any(map.valid.any() for map in shown.maps):
            return []
        limits = self.limits(shown)
        return self.picture_key(shown, width) if limits is None else self.scale_key(shown, width)

    def scale_key(self, shown: Shown, width: int) -> list[KeyBlock]:
        """The key to ``(H, W)`` numbers: a scale, with the numbers at its ends and round ones
        between them.
        """
        low, high = self.limits(shown)
        span = max(high - low, 1e-6)
        ramp = self.colours(np.linspace(low, low + span, width - 2)[None], (low, low + span))[0]
        first, last = saturated(
            shown, (low, high), [self.number(end, self.number_format) for end in (low, high)]
        )
        inner = [
            ((tick - low) / span, self.number(tick, 'g'))
            for tick in round_numbers(low, high, 5, (1, 2, 5, 10))
        ]
        return [Scale(ramp, ((0.0, first), *inner, (1.0, last)))]

    def picture_key(self, shown: Shown, width: int) -> list[KeyBlock]:
        """The key to ``(H, W, 3)`` values in 0..1: which channel is which colour, and the values of
        black and of white.
        """
        primaries = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
        channels = Tiles(tuple((colour, f'channel {i}') for i, colour in enumerate(primaries)))
        ramp = np.repeat(np.linspace(0, 1, width - 2)[None, :, None], 3, axis=2)
        first, last = saturated(shown, (0, 1), [self.number(end, 'g') for end in (0, 1)])
        ticks = ((0.0, first), (0.5, self.number(0.5, 'g')), (1.0, last))
        return [channels, Scale(self.colours(ramp, None)[0], ticks)]

    def number(self, value: float, number_format: str) -> str:
        """A number with the task's unit."""
        return f'{value:{number_format}} {self.task.error_unit}'.rstrip()

    @property
    def error_style(self) -> ErrorStyle:
        """How the errors of the task are shown; here, as numbers in its ``error_unit``."""
        suffix = f' {self.task.error_unit}' if self.task.error_unit else ''
        return ErrorStyle(lambda mean: f'{mean:.3g}{suffix}', suffix=suffix)


def names_of_classes(tasks: Mapping[str, Task], classes: Sequence[str]) -> dict[str, Sequence[str]]:
    """The names of the classes of each task, given those of the data set's segmentation classes."""
    return {name: build_view(task).class_names(classes) for name, task in tasks.items()}


def saturated(shown: Shown, limits: tuple[float, float], texts: Sequence[str]) -> tuple[str, str]:
    """The texts of both ends of a scale, marked where predictions lie beyond it."""
    low, high = texts
    if shown.prediction is not None and shown.prediction.valid.any():
        predicted = shown.prediction.values
        low = f'≤ {low}' if predicted.min() < limits[0] else low
        high = f'≥ {high}' if predicted.max() > limits[1] else high
    return low, high


def build_view(task: Task) -> View:
    """The view of a task: the one registered under its kind, or under the kind of a class that it
    extends, else :class:`View`.
    """
    return task.find_in(VIEWS, View)(task)
