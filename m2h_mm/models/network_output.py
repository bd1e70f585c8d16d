"""What a model computes from images alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from m2h_mm.structures import Features


class NetworkOutput(NamedTuple):
    """What is computed from the images alone.

    Attributes:
        outputs: the heads' outputs ``{task: (N, K, h, w)}``.
        aux: intermediate predictions of backbone and decoder, one dict per scale.
        features: what the decoder saw; None unless a loss between tasks may look at it.
        details: what the decoder says of its outputs, see :class:`TaskFeatures`.
    """

    outputs: dict[str, Tensor]
    aux: list[dict[str, Tensor]]
    features: Features | None = None
    details: Mapping[str, Mapping[str, Tensor]] = {}
