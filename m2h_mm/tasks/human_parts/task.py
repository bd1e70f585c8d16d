"""Human part segmentation."""

from __future__ import annotations

from torch import Tensor

from m2h_mm.registry import TASKS
from m2h_mm.tasks.semseg.task import Semseg

PARTS = ('background', 'head', 'torso', 'upper arms', 'lower arms', 'upper legs', 'lower legs')


@TASKS.register_module('human_parts')
class HumanParts(Semseg):
    """The part of a person that a pixel belongs to.

    Labels are 0 = background, 1..num_classes-1 = the parts, 255 where void. Outputs are logits.

    A label without any part shows nobody: none of its pixels count, neither in a loss nor in a
    metric, be they void (as in the releases of PASCAL-Context) or background. That is decided per
    label as it stands: a training crop beside the person does not count either.

    Args:
        num_classes: number of parts, plus 1 for the background. Default: the six of PASCAL-Context,
            see ``classes``.

    Attributes:
        classes: names of the classes; empty where ``num_classes`` is not 7.

    Raises:
        ValueError: ``num_classes`` outside 2..254.
    """

    name = 'human_parts'
    gt_field = 'gt_human_parts'
    pred_field = 'pred_human_parts'
    folder = 'human_parts'
    error_unit = 'wrong part'
    meaning = 'part id, 0 is background'

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__(num_classes)
        self.classes = PARTS if num_classes == len(PARTS) else ()

    def valid(self, label: Tensor) -> Tensor:
        """``(N, 1, H, W)`` bool: not void, and in a label ``(N, 1, H, W)`` that shows somebody."""
        labelled = label != self.void
        shows_somebody = (labelled & (label > 0)).any(dim=(1, 2, 3), keepdim=True)
        return labelled & shows_somebody

    def label_statistics(self, label: Tensor) -> Tensor:
        return super().label_statistics(label.masked_fill(~self.valid(label[None])[0], self.void))
