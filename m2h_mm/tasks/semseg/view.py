"""How semantic segmentation looks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2h_mm.registry import VIEWS
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.keys import KeyBlock, Tiles
from m2h_mm.tasks.semseg.colours import class_colours
from m2h_mm.tasks.shown import Shown
from m2h_mm.tasks.view import ErrorStyle, View


@VIEWS.register_module('semseg')
class SemsegView(View):
    """A colour per class."""

    heading = 'Semantic segmentation'
    wide_key = True

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.palette = class_colours()

    def colours(self, value: np.ndarray, limits: None) -> np.ndarray:
        return self.palette[value.astype(np.uint8)]

    def limits(self, shown: Shown) -> None:
        return None

    def class_names(self, classes: Sequence[str]) -> Sequence[str]:
        """Those of the data set."""
        return classes

    def key(
        self, shown: Shown, classes: Sequence[str] = (), width: int = 256, text: int = 13
    ) -> list[KeyBlock]:
        """The classes that occur."""
        classes = classes or self.class_names(())
        ids = sorted({int(id) for map in shown.maps for id in np.unique(map.values)})
        entries = tuple(
            (self.colour_of(id), classes[id] if id < len(classes) else f'class {id}') for id in ids
        )
        return [Tiles(entries)] if entries else []

    @property
    def error_style(self) -> ErrorStyle:
        unit = self.task.error_unit
        return ErrorStyle(lambda mean: f'{100 * mean:.1f} % {unit}', limit=1.0, binary=True)
