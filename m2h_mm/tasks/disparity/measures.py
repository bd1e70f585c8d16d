"""Disparity measures from sums over pixels."""

from __future__ import annotations

from torch import Tensor


def disparity_statistics(pred: Tensor, target: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Sums over the valid pixels, float64 scalars, of which :func:`disparity_measures` is a
    function. Those of several images add up.

    Args:
        pred, target: pixels, any one shape; target above 0 where valid.
        valid: bool, the same shape.
    """
    p, g = pred[valid].double(), target[valid].double()
    error = (p - g).abs()
    return dict(
        count=valid.sum().double(),
        squared=(error**2).sum(),
        absolute=error.sum(),
        relative=(error / g).sum(),
    )


def disparity_measures(statistics: dict[str, Tensor]) -> dict[str, Tensor]:
    """``rmse`` and ``abs_err``, pixels, and ``rel_err``, the mean of the absolute error over the
    truth; NaN without a pixel.
    """
    mean = {name: total / statistics['count'] for name, total in statistics.items()}
    return dict(rmse=mean['squared'].sqrt(), abs_err=mean['absolute'], rel_err=mean['relative'])
