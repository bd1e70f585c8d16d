"""The control: no exchange between tasks."""

from __future__ import annotations

from torch import Tensor, nn

from m2h_mm.registry import MODELS


@MODELS.register_module()
class NoInteraction(nn.Module):
    """Hands every task its own map. The control of every ablation of an interaction; no parameters.

    Shapes: ``{task: (N, C, H, W)}`` kept.
    """

    independent = (
        True  # no task's output depends on another's input, so a decoder may leave tasks out
    )

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        return maps
