"""Cosine loss of normals."""

from __future__ import annotations

from torch import Tensor, nn

from m2h_mm.geometry.directions import unit_vectors
from m2h_mm.registry import MODELS

from .masking import keep_valid, masked_mean

# Predictions are unit vectors; shorter than this is only what interpolation made of opposite ones,
# and normalising it would give a gradient of about one over its length.
SHORTEST = 1e-3


def cosine_loss(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """``1 - cos`` of the angle between two vector maps, averaged over valid pixels."""
    pred, target = (
        unit_vectors(keep_valid(vectors, valid), shortest=SHORTEST) for vectors in (pred, target)
    )
    return masked_mean(1 - (pred * target).sum(dim=1, keepdim=True), valid)


@MODELS.register_module()
class CosineLoss(nn.Module):
    """``1 - cos`` of the angle between predicted and true normal, averaged over the valid pixels of
    the batch.

    Args:
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: vectors ``(N, 3, H, W)`` twice (normalised here once more),
    ``(N, 1, H, W)`` bool. Returns a scalar in [0, 2], 0 with zero gradients if nothing is valid.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return self.loss_weight * cosine_loss(pred, target, valid)
