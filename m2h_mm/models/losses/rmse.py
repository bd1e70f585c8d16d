"""Root mean squared error as a loss, for depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .masking import keep_valid, masked_mean

# Below this the square root (infinite slope at 0) is left out.
NEGLIGIBLE = 1e-12


def rmse_loss(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """``sqrt(mean (pred - target)^2)`` over valid pixels."""
    square = masked_mean((keep_valid(pred, valid) - keep_valid(target, valid)) ** 2, valid)
    large = square > NEGLIGIBLE
    return torch.where(large, torch.where(large, square, 1.0).sqrt(), square)


@MODELS.register_module()
class RMSELoss(nn.Module):
    """Root mean squared error over the valid pixels of the batch, the metric of depth as a loss:
    M2H-MX adds it to :class:`SILogLoss`.

    Args:
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: ``(N, 1, H, W)`` twice, ``(N, 1, H, W)`` bool. Returns a
    scalar in the label's unit, 0 with zero gradients if nothing is valid.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return self.loss_weight * rmse_loss(pred, target, valid)
