"""Dice loss, for edges and other masks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .masking import full_precision, keep_valid

SMOOTH = 1e-6


def dice_loss(pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """``1 - (2 sum p t + s) / (sum p + sum t + s)``; see :class:`DiceLoss`."""
    if pred.shape[1] == 1:
        probabilities = keep_valid(pred, valid).sigmoid()
        target = keep_valid(target, valid)
    else:
        probabilities = keep_valid(pred, valid).softmax(1)
        classes = target.long().where(valid, 0)[:, 0]
        target = full_precision(F.one_hot(classes, pred.shape[1]).movedim(-1, 1))
    probabilities, target = probabilities * valid, target * valid
    both = (probabilities * target).sum((2, 3))
    either = probabilities.sum((2, 3)) + target.sum((2, 3))
    return (1 - (2 * both + SMOOTH) / (either + SMOOTH)).mean()


@MODELS.register_module()
class DiceLoss(nn.Module):
    """One minus the overlap of prediction and truth as areas (V-Net, arXiv 1606.04797, section 3),
    a complement of a loss per pixel where one class is rare; M2H-MX's second loss of edges.

    ``1 - (2 sum p t + s) / (sum p + sum t + s)`` of each image and class, over its valid pixels,
    with s = 1e-6; the mean over images and classes. p is the sigmoid of one channel, or the softmax
    over several. An image without a valid pixel counts as a perfect one, 0.

    Args:
        final_only: whether intermediate predictions have no such loss, as in M2H-MX. Default:
            False.
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: logits ``(N, 1, H, W)`` and 0/1 labels ``(N, 1, H, W)``, or
    logits ``(N, K, H, W)`` and class ids ``(N, 1, H, W)``; ``(N, 1, H, W)`` bool. Returns a scalar
    in [0, 1], 0 with zero gradients if nothing is valid.
    """

    def __init__(self, final_only: bool = False, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.final_only = final_only
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return self.loss_weight * dice_loss(pred, target, valid)
