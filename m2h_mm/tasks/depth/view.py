"""How depth looks."""

from __future__ import annotations

from m2h_mm.registry import VIEWS
from m2h_mm.tasks.positive_view import PositiveView
from m2h_mm.tasks.shown import Map


@VIEWS.register_module('depth')
class DepthView(PositiveView):
    """Near is bright, far is dark."""

    colormap = 'magma_r'

    def limits_of_video(self, first: Map) -> tuple[float, float]:
        """From 0 to the task's ``max_depth``, metres."""
        return 0.0, self.task.max_depth
