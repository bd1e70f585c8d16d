"""Reverse Huber loss for depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .masking import keep_valid, masked_mean


def berhu_loss(pred: Tensor, target: Tensor, valid: Tensor, threshold: float = 0.2) -> Tensor:
    """Linear below ``c = threshold * max |residual|``, quadratic above; see :class:`BerHuLoss`."""
    residual = (keep_valid(pred, valid) - keep_valid(target, valid)).abs()
    if not residual.numel():
        return residual.sum()
    limit = (threshold * residual.detach().max()).clamp(min=torch.finfo(residual.dtype).tiny ** 0.5)
    quadratic = (residual**2 + limit**2) / (2 * limit)
    return masked_mean(torch.where(residual <= limit, residual, quadratic), valid)


@MODELS.register_module()
class BerHuLoss(nn.Module):
    """Reverse Huber loss (Laina et al., 3DV 2016, eq. 2), averaged over the valid pixels of the
    batch.

    |r| where the residual r is at most c, ``(r^2 + c^2) / (2 c)`` above, with c = ``threshold``
    times the largest |r| of the batch's valid pixels. c counts as a constant in the gradient.

    Args:
        threshold: share of the largest residual at which the loss turns quadratic.
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: metres ``(N, 1, H, W)`` twice, ``(N, 1, H, W)`` bool. Returns
    a scalar, 0 with zero gradients if nothing is valid.
    """

    def __init__(self, threshold: float = 0.2, loss_weight: float = 1.0) -> None:
        super().__init__()
        if threshold <= 0:
            raise ValueError(f'BerHuLoss.threshold: expected a number above 0, got {threshold}.')
        self.threshold = threshold
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return self.loss_weight * berhu_loss(pred, target, valid, self.threshold)
