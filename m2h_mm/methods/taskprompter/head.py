"""TaskPrompter's head."""

from __future__ import annotations

from torch import Tensor, nn

from m2h_mm.registry import MODELS


@MODELS.register_module()
class TaskPrompterHead(nn.Module):
    """A 3x3 convolution, batch norm and GELU, then a 1x1 convolution, its output as it is: class
    logits, metres, edge logits, or normals of any length (their task normalises them after it has
    resized them).

    Args:
        in_channels: C. Filled in by the model.
        out_channels: channels K of the task's output. Filled in by the model.

    Shapes: ``(N, C, H, W)`` to ``(N, K, H, W)``.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1),
            nn.BatchNorm2d(in_channels),
            nn.GELU(),
        )
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.project(x))
