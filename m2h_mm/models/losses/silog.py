"""Scale-invariant logarithmic loss for depth."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .masking import keep_valid, masked_mean

# Below this the square root (infinite slope at 0) is left out: rounding noise of a float32
# logarithm, squared.
NEGLIGIBLE = 1e-12


def silog_loss(
    pred: Tensor,
    target: Tensor,
    valid: Tensor,
    variance_focus: float = 0.85,
    min_depth: float = 1e-3,
) -> Tensor:
    """``sqrt(mean g^2 - variance_focus (mean g)^2)``, g the log ratio; see :class:`SILogLoss`."""
    pred, target = (
        keep_valid(depth, valid, 1.0).clamp(min=min_depth).log() for depth in (pred, target)
    )
    ratio = pred - target
    mean = masked_mean(ratio, valid)
    # The same number as in the formula above, but a sum of squares: rounding cannot make it
    # negative.
    square = masked_mean((ratio - mean) ** 2, valid) + (1 - variance_focus) * mean**2
    large = square > NEGLIGIBLE
    return torch.where(large, torch.where(large, square, 1.0).sqrt(), square)


@MODELS.register_module()
class SILogLoss(nn.Module):
    """Scale-invariant logarithmic loss (Eigen et al., NeurIPS 2014, eq. 4) in the square-root form
    of BTS (Lee et al., 2019, eq. 4).

    g = ln prediction - ln truth over all valid pixels of the batch; the loss is
    ``sqrt(mean g^2 - variance_focus (mean g)^2)``. BTS multiplies it by 10: say so with
    ``loss_weight=10``.

    Args:
        variance_focus: share of the common scale error that is forgiven: 0 none (log RMSE), 1 all.
            Eigen: 0.5, BTS: 0.85.
        min_depth: metres; smaller depths are raised to it before the logarithm (such predictions
            get no gradient).
        loss_weight: factor of the loss.

    ``forward(pred, target, valid)``: metres ``(N, 1, H, W)`` twice, ``(N, 1, H, W)`` bool. Returns
    a scalar, 0 with zero gradients if nothing is valid.
    """

    def __init__(
        self, variance_focus: float = 0.85, min_depth: float = 1e-3, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 <= variance_focus <= 1:
            raise ValueError(
                f'SILogLoss.variance_focus: expected a number in [0, 1], got {variance_focus}.'
            )
        if min_depth <= 0:
            raise ValueError(f'SILogLoss.min_depth: expected metres above 0, got {min_depth}.')
        self.variance_focus = variance_focus
        self.min_depth = min_depth
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        return self.loss_weight * silog_loss(
            pred, target, valid, self.variance_focus, self.min_depth
        )
