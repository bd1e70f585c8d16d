"""PAD-Net's head."""

from __future__ import annotations

from torch import Tensor, nn

from m2h_mm.models.layers.conv import require_divisible
from m2h_mm.models.layers.residual import Bottleneck
from m2h_mm.registry import MODELS


@MODELS.register_module()
class PADNetHead(nn.Module):
    """Two bottleneck blocks and a 1x1 convolution, its output as it is: class logits, metres, edge
    logits, or normals of any length (their task normalises them after it has resized them).

    Args:
        in_channels: C, a multiple of 4. Filled in by the model.
        out_channels: channels K of the task's output. Filled in by the model.

    Shapes: ``(N, C, H, W)`` to ``(N, K, H, W)``.

    Raises:
        ValueError: C is not a multiple of 4.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        require_divisible(
            'model.heads (PADNetHead)',
            'in_channels',
            in_channels,
            4,
            'its bottleneck blocks work on a quarter of them',
        )
        self.blocks = nn.Sequential(
            Bottleneck(in_channels, in_channels), Bottleneck(in_channels, in_channels)
        )
        self.conv = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.blocks(x))
