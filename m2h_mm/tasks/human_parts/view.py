"""How human parts look."""

from __future__ import annotations

from collections.abc import Sequence

from m2h_mm.registry import VIEWS
from m2h_mm.tasks.base import Task
from m2h_mm.tasks.semseg.view import SemsegView

BACKGROUND_COLOUR = (226, 226, 226)


@VIEWS.register_module('human_parts')
class HumanPartsView(SemsegView):
    """A colour per part, the background light grey."""

    heading = 'Human parts'

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.palette[0] = BACKGROUND_COLOUR

    def class_names(self, classes: Sequence[str]) -> Sequence[str]:
        """The parts' own names, whatever the data set's classes."""
        return self.task.classes
