"""The head behind a decoder that makes the outputs itself."""

from __future__ import annotations

from torch import Tensor, nn

from m2h_mm.registry import MODELS


@MODELS.register_module()
class NoHead(nn.Module):
    """The decoder's map of the task is its output, as it is.

    Args:
        in_channels: channels of the map. Filled in by the model.
        out_channels: K of the task's output. Filled in by the model.

    Shapes: ``(N, K, H, W)`` kept.

    Raises:
        ValueError: the map has other channels than the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if in_channels != out_channels:
            raise ValueError(
                f'the decoder yields a map of {in_channels} channels, but the task has '
                f'{out_channels}. NoHead is for a decoder that makes the outputs itself; else '
                'take a head such as LinearHead.'
            )

    def forward(self, x: Tensor) -> Tensor:
        return x
