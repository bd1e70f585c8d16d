"""How disparity looks."""

from m2h_mm.registry import VIEWS
from m2h_mm.tasks.positive_view import PositiveView


@VIEWS.register_module('disparity')
class DisparityView(PositiveView):
    """Near, which is a large disparity, is bright; far is dark."""

    colormap = 'magma'
