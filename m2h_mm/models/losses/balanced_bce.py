"""Class-balanced binary cross-entropy loss for edges."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .masking import keep_valid, masked_mean


def balanced_bce_loss(
    pred: Tensor, target: Tensor, valid: Tensor, pos_weight: float | None = 0.95
) -> Tensor:
    """``w * positive + (1 - w) * negative`` terms, averaged over valid pixels; see
    :class:`BalancedBCELoss`.
    """
    pred, target = keep_valid(pred, valid), keep_valid(target, valid)
    weight = masked_mean(1 - target, valid) if pos_weight is None else pos_weight
    positive, negative = target * F.softplus(-pred), (1 - target) * F.softplus(pred)
    return masked_mean(weight * positive + (1 - weight) * negative, valid)


@MODELS.register_module()
class BalancedBCELoss(nn.Module):
    """Binary cross-entropy in which the rare edge pixels weigh more.

    ``mean over valid pixels of (w y ln(1 / p) + (1 - w) (1 - y) ln(1 / (1 - p)))``: the mean is
    over all valid pixels of the batch, not over each class, as in MTI-Net, ATRC and InvPT (there
    with weight 50).

    Args:
        pos_weight: w, in [0, 1]; 0.95 in the multi-task literature, 0.8 in ATRC on NYUD. None: the
            share of non-edge pixels among the batch's valid ones (HED, Xie and Tu, ICCV 2015); a
            batch without any edge then has loss 0.
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: logits and 0/1 labels ``(N, 1, H, W)``, ``(N, 1, H, W)`` bool.
    Returns a scalar, 0 with zero gradients if nothing is valid.
    """

    def __init__(self, pos_weight: float | None = 0.95, loss_weight: float = 1.0) -> None:
        super().__init__()
        if pos_weight is not None and not 0 <= pos_weight <= 1:
            raise ValueError(
                'BalancedBCELoss.pos_weight: expected the share of the edge term in [0, 1] or '
                f'None, got {pos_weight}.'
            )
        self.pos_weight = pos_weight
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return self.loss_weight * balanced_bce_loss(pred, target, valid, self.pos_weight)
