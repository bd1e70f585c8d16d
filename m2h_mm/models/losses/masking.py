"""How the losses leave out pixels that are not valid."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """float32, also of what autocast made half; float64 stays."""
    return values if values.dtype == torch.float64 else values.float()


def keep_valid(values: Tensor, valid: Tensor, fill: float = 0.0) -> Tensor:
    """``values`` in full precision with ``fill`` where ``valid`` is False.

    Done before anything else with predictions and labels: whatever stands at an invalid pixel, NaN
    included, then reaches neither the loss nor, through a zero times infinity, the gradient.
    """
    return torch.where(valid, full_precision(values), fill)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Sum over channels, mean over valid pixels, of the whole batch; 0 (with zero gradients) if
    there are none.

    Args:
        values: ``(N, C, H, W)``.
        valid: ``(N, 1, H, W)`` bool.
    """
    return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)
