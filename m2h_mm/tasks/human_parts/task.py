"""Human part segmentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks.doubt import Doubt
from m2h_mm.tasks.semseg.task import Semseg

PARTS = ('background', 'head', 'torso', 'upper arms', 'lower arms', 'upper legs', 'lower legs')


@TASKS.register_module('human_parts')
class HumanParts(Semseg):
    """The part of a person that a pixel belongs to.

    Labels are 0 = background, 1..num_classes-1 = the parts; files hold 255 where nothing is known.
    Outputs are logits.

    A label without any part shows nobody: none of its pixels count, neither in a loss nor in a
    metric, be they unknown (as in the releases of PASCAL-Context) or background. That is decided
    per label as it stands: a training crop beside the person does not count either.

    Args:
        num_classes: number of parts, plus 1 for the background. Default: the six of PASCAL-Context,
            see ``classes``.

    Attributes:
        classes: names of the classes; empty where ``num_classes`` is not 7.

    Raises:
        ValueError: ``num_classes`` outside 2..254.
    """

    folder = 'human_parts'
    error_unit = 'wrong part'
    meaning = 'part id, 0 is background'
    classes_of_dataset = False

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__(num_classes)
        self.classes = PARTS if num_classes == len(PARTS) else ()

    def with_class_table(self, table: np.ndarray) -> HumanParts:
        """The task itself: parts are the same in all data sets."""
        return self

    def class_names(self, metainfo: Mapping) -> list[str]:
        return super().class_names(dict(classes=self.classes))

    def truth(self, label: Label) -> Label:
        """Only labels that show somebody count."""
        frame = tuple(range(-min(label.value.ndim, 3), 0))  # of a batch, each label by itself
        somebody = (label.valid & (label.value > 0)).any(axis=frame, keepdims=True)
        return Label(label.value, label.valid & somebody)

    def inspect(self, path: Path, label: Label) -> Iterator[Doubt]:
        """Nothing: a label without a valid pixel says that nobody is there."""
        yield from ()
