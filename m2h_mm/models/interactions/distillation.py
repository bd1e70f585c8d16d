"""Multi-modal distillation: each task adds what a gate lets through of each of the others."""

from __future__ import annotations

from collections.abc import Sequence

from m2h_mm.models.layers.distillation import MultiModalDistillationUnit
from m2h_mm.registry import MODELS


@MODELS.register_module()
class MultiModalDistillation(MultiModalDistillationUnit):
    """Multi-modal distillation of PAD-Net (Xu et al., CVPR 2018, arXiv 1805.04409, its module C),
    which MTI-Net (Vandenhende et al., ECCV 2020, arXiv 2001.06902) applies at each scale.

    ``G_t = F_t + sum_{a != t} conv3_ta(F_a) * sigmoid(conv3'_ta(F_a))``, 3x3 convolutions without
    bias: the sender's map sets the gate. 18 T (T - 1) C^2 multiply-adds per pixel. A single task
    keeps its map.

    In both methods F_t are the features of an auxiliary prediction that is supervised; here they
    are the tasks' maps, at one scale, and nothing is supervised but the heads.

    Args:
        channels: C. Filled in by the decoder.
        tasks: names of the T tasks. Filled in by the decoder.

    Shapes: ``{task: (N, C, H, W)}`` kept.
    """

    def __init__(self, channels: int, tasks: Sequence[str]) -> None:
        super().__init__(channels, tasks)
