"""Absolute difference as a loss, for depth and normals."""

from __future__ import annotations

from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .masking import keep_valid, masked_mean


def l1_loss(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Absolute difference, summed over channels, averaged over valid pixels."""
    return masked_mean((keep_valid(pred, valid) - keep_valid(target, valid)).abs(), valid)


@MODELS.register_module()
class L1Loss(nn.Module):
    """Absolute difference, summed over channels and averaged over the valid pixels of the batch.

    For depth the mean absolute error in metres. For normals the loss of the InvPT family (there
    with weight 10); MTI-Net also averages over the three channels, which is this with a third of
    the weight.

    Args:
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: ``(N, C, H, W)`` twice, ``(N, 1, H, W)`` bool. Returns a
    scalar, 0 with zero gradients if nothing is valid.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return self.loss_weight * l1_loss(pred, target, valid)
