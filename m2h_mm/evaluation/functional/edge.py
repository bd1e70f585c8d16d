"""Edge measures from sums over pixels."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-7  # probabilities are kept this far from 0 and 1, the resolution of float32 near 1


def balanced_bce_statistics(pred: Tensor, target: Tensor, valid: Tensor, pos_weight: float = 0.95) -> dict[str, Tensor]:
    """Sums over the valid pixels, float64 scalars, of which :func:`balanced_bce` is a function. Those of several
    images add up.

    Args:
        pred: edge probabilities, any shape.
        target: 0 or 1 where valid, the same shape.
        valid: bool, the same shape.
        pos_weight: share of the edge term.
    """
    p, y = pred[valid].double().clamp(SMALLEST, 1 - SMALLEST), target[valid].double()
    terms = -pos_weight * y * p.log() - (1 - pos_weight) * (1 - y) * (-p).log1p()
    return dict(count=torch.ones_like(y).sum(), total=terms.sum())


def balanced_bce(statistics: dict[str, Tensor]) -> Tensor:
    """Mean over valid pixels of ``w y ln(1 / p) + (1 - w) (1 - y) ln(1 / (1 - p))``; NaN without a pixel."""
    return statistics['total'] / statistics['count']
