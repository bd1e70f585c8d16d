"""Human part metric."""

from __future__ import annotations

from m2h_mm.registry import METRICS
from m2h_mm.tasks import HumanParts
from m2h_mm.tasks.semseg.metric import SemSegMetric


@METRICS.register_module()
class HumanPartsMetric(SemSegMetric):
    """Mean intersection over union of the background and the parts, from counts over the images
    that show somebody.

    Keys: ``human_parts/mIoU``, ``human_parts/mAcc`` and ``human_parts/aAcc`` in percent, as of
    :class:`SemSegMetric`. An image whose label holds no part does not count, whatever is predicted
    there.

    Args:
        num_classes: number of parts, plus 1 for the background.
        absent: what mIoU does with classes that occur neither in truth nor prediction, 'exclude' or
            'zero'.
        per_class: also log a table of all parts.
        prefix: prefix of the keys. Default: 'human_parts'.
    """

    default_prefix = 'human_parts'

    def __init__(
        self,
        num_classes: int = 7,
        absent: str = 'exclude',
        per_class: bool = True,
        prefix: str | None = None,
    ) -> None:
        super().__init__(num_classes, absent, per_class, prefix)
        self.task = HumanParts(num_classes)

    @SemSegMetric.dataset_meta.getter
    def dataset_meta(self) -> dict:
        """The parts' names: the data set's own are those of its semantic classes."""
        return dict(classes=self.task.classes)
