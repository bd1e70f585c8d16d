"""The metric of human parts."""

from __future__ import annotations

from m2h_mm.registry import METRICS
from m2h_mm.tasks.semseg.metric import SemSegMetric


@METRICS.register_module('human_parts')
class HumanPartsMetric(SemSegMetric):
    """Mean intersection over union of the background and the parts, from counts over the images
    that show somebody; keys and arguments are those of :class:`SemSegMetric`.

    An image whose label holds no part does not count, whatever is predicted there: that is what
    :meth:`~m2h_mm.tasks.human_parts.HumanParts.truth` leaves of it.
    """
