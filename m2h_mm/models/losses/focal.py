"""Focal loss of edges."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .masking import keep_valid, masked_mean


def focal_loss(
    pred: Tensor, target: Tensor, valid: Tensor, gamma: float = 2.0, alpha: float = 0.25
) -> Tensor:
    """Binary cross-entropy that looks away from what is already right; see :class:`FocalLoss`."""
    pred, target = keep_valid(pred, valid), keep_valid(target, valid)
    signed = (2 * target - 1) * pred  # the logit of the true answer
    weight = alpha * target + (1 - alpha) * (1 - target)
    return masked_mean(weight * (-signed).sigmoid() ** gamma * F.softplus(-signed), valid)


@MODELS.register_module()
class FocalLoss(nn.Module):
    """Focal loss of a binary label (Lin et al., ICCV 2017, eq. 5), averaged over the valid pixels
    of the batch.

    ``a (1 - p)^gamma ln(1 / p)`` with p the probability of the true answer, and a = ``alpha`` where
    it is yes and ``1 - alpha`` where it is no.

    Args:
        gamma: at least 0, which is the balanced cross-entropy. Default: 2.
        alpha: share of the pixels that are yes, in [0, 1]. Default: 0.25.
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: logits and 0/1 labels ``(N, 1, H, W)``, ``(N, 1, H, W)`` bool.
    Returns a scalar, 0 with zero gradients if nothing is valid.

    Raises:
        ValueError: ``gamma`` below 0, ``alpha`` outside [0, 1].
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25, loss_weight: float = 1.0) -> None:
        super().__init__()
        if gamma < 0 or not 0 <= alpha <= 1:
            raise ValueError(
                'FocalLoss: expected gamma of at least 0 and alpha in [0, 1], got '
                f'gamma={gamma} and alpha={alpha}.'
            )
        self.gamma, self.alpha = gamma, alpha
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return self.loss_weight * focal_loss(pred, target, valid, self.gamma, self.alpha)
