"""Cross-entropy loss of semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .masking import full_precision

IGNORED = -100


def cross_entropy_loss(
    pred: Tensor, target: Tensor, valid: Tensor, class_weight: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over valid pixels; see :class:`CrossEntropyLoss`."""
    labels = target.long().masked_fill(~valid, IGNORED)[:, 0]
    # One row a pixel: in channels-last memory they are rows already, while a softmax over maps
    # would reorder all of them, there and back.
    total = F.cross_entropy(
        full_precision(pred).movedim(1, -1).flatten(0, 2),
        labels.flatten(),
        class_weight,
        ignore_index=IGNORED,
        reduction='sum',
    )
    if class_weight is None:
        count = valid.sum()
    else:
        count = torch.where(valid[:, 0], class_weight[labels.clamp(min=0)], 0.0).sum()
    return total / torch.where(count > 0, count, 1)


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Softmax cross-entropy, averaged over the valid pixels of the batch.

    With ``class_weight`` it is the weighted mean: the sum of the weighted terms over the sum of the
    weights of the valid pixels (PyTorch's ``reduction='mean'``).

    Args:
        class_weight: one factor per channel of the prediction. Default: all 1.
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: logits ``(N, C, H, W)``, class ids ``(N, 1, H, W)`` int64
    (anything where not valid), ``(N, 1, H, W)`` bool. Returns a scalar, 0 with zero gradients if
    nothing is valid.
    """

    def __init__(
        self, class_weight: Sequence[float] | None = None, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        weights = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)
        if weights is not None and not bool((weights >= 0).all()):
            raise ValueError(
                'CrossEntropyLoss.class_weight: expected factors of at least 0, got '
                f'{class_weight}.'
            )
        self.register_buffer('class_weight', weights, persistent=False)
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        if self.class_weight is not None and len(self.class_weight) != pred.shape[1]:
            raise ValueError(
                f'CrossEntropyLoss.class_weight: expected {pred.shape[1]} factors, one per '
                f'channel of the prediction, got {len(self.class_weight)}.'
            )
        return self.loss_weight * cross_entropy_loss(pred, target, valid, self.class_weight)
