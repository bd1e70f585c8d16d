"""Class-balanced cross-entropy loss of two channels, for saliency."""

from __future__ import annotations

from torch import Tensor

from m2h_mm.registry import MODELS

from .balanced_bce import BalancedBCELoss, balanced_bce_loss
from .masking import full_precision


def balanced_cross_entropy_loss(
    pred: Tensor, target: Tensor, valid: Tensor, pos_weight: float | None = None
) -> Tensor:
    """:func:`balanced_bce_loss` of the softmax over two channels; see
    :class:`BalancedCrossEntropyLoss`.
    """
    pred = full_precision(pred)
    # The softmax of two channels is the sigmoid of their difference.
    return balanced_bce_loss(pred[:, 1:] - pred[:, :1], target, valid, pos_weight)


@MODELS.register_module()
class BalancedCrossEntropyLoss(BalancedBCELoss):
    """Softmax cross-entropy of two channels, no and yes, in which both classes weigh the same.

    ``mean over valid pixels of (w y ln(1 / p) + (1 - w) (1 - y) ln(1 / (1 - p)))``, with p the
    softmax of the second channel: what the multi-task literature trains saliency with (there with
    weight 5).

    Args:
        pos_weight: w, in [0, 1]. Default None: the share of pixels with y = 0 among the batch's
            valid ones (HED, Xie and Tu, ICCV 2015), which gives both classes the same total weight;
            a batch of one class then has loss 0.
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: logits ``(N, 2, H, W)``, 0/1 labels ``(N, 1, H, W)``, ``(N, 1,
    H, W)`` bool. Returns a scalar, 0 with zero gradients if nothing is valid.

    Raises:
        ValueError: ``pos_weight`` outside [0, 1]; in ``forward``, a prediction that has not two
            channels.
    """

    def __init__(self, pos_weight: float | None = None, loss_weight: float = 1.0) -> None:
        super().__init__(pos_weight, loss_weight)

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        if pred.shape[1] != 2:
            raise ValueError(
                'BalancedCrossEntropyLoss: expected a prediction of 2 channels, got '
                f'{pred.shape[1]}. Set tasks.saliency.channels to 2, or use BalancedBCELoss for '
                '1.'
            )
        return self.loss_weight * balanced_cross_entropy_loss(pred, target, valid, self.pos_weight)
