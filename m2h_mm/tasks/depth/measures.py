"""Depth measures from sums over pixels."""

from __future__ import annotations

import torch
from torch import Tensor

DELTA = 1.25
SMALLEST = 1e-9  # what non-positive predictions are raised to, as InvPT does


def depth_statistics(pred: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Sums over the valid pixels, float64 scalars, of which :func:`depth_measures` is a function.
    Those of several images add up.

    Args:
        pred, target: metres, any one shape; target above 0 where valid.
        valid: bool, the same shape.
    """
    p, g = pred[valid].double().clamp(min=SMALLEST), target[valid].double()
    error, log_ratio = p - g, p.log() - g.log()
    ratio = torch.maximum(p / g, g / p)
    terms = dict(
        count=torch.ones_like(g),
        squared=error**2,
        log=log_ratio,
        log_squared=log_ratio**2,
        relative=error.abs() / g,
        squared_relative=error**2 / g,
        log10=p.log10().sub(g.log10()).abs(),
    )
    terms.update({f'delta{k}': (ratio < DELTA**k).double() for k in (1, 2, 3)})
    return {name: term.sum() for name, term in terms.items()}


def depth_measures(statistics: dict[str, Tensor]) -> dict[str, Tensor]:
    """``rmse`` (metres), ``rmse_log``, ``abs_rel``, ``sq_rel`` (metres), ``silog`` (x 100),
    ``log10``, and ``delta1..3``, the fractions within a factor of 1.25^k (strictly); NaN without a
    pixel.
    """
    mean = {name: total / statistics['count'] for name, total in statistics.items()}
    return dict(
        rmse=mean['squared'].sqrt(),
        rmse_log=mean['log_squared'].sqrt(),
        abs_rel=mean['relative'],
        sq_rel=mean['squared_relative'],
        silog=100 * (mean['log_squared'] - mean['log'] ** 2).clamp(min=0).sqrt(),
        log10=mean['log10'],
        delta1=mean['delta1'],
        delta2=mean['delta2'],
        delta3=mean['delta3'],
    )
