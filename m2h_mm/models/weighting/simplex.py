"""The minimum of a convex function over weights that add up to 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEPS = 100
SMALLEST = 1e-9  # share of a step that is still tried
ROUNDING = 1e-10  # of a slope, relative to the largest one


def minimise_on_simplex(
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], count: int
) -> np.ndarray:
    """Weights ``(count,)`` of at least 0 that add up to 1, where a smooth convex function is least.

    Newton's method among the weights that are not held at 0, an active set for those that are;
    deterministic, for a handful of weights.

    Args:
        derivatives: the function's gradient ``(count,)`` and Hessian ``(count, count)`` at weights.
        count: how many weights, at least 1.
    """
    weights = np.full(count, 1 / count)
    free = np.ones(count, dtype=bool)
    for _ in range(STEPS):
        gradient, hessian = derivatives(weights)
        size = np.abs(gradient).max()
        step = _newton_step(gradient, hessian, free)
        slope = gradient @ step
        shrinking = step < 0
        limits = np.full(count, np.inf)
        limits[shrinking] = weights[shrinking] / -step[shrinking]
        share = min(1.0, limits.min())
        # Of a convex function: it has been gone too far where it rises again.
        while share > SMALLEST and derivatives(weights + share * step)[0] @ step > -0.5 * slope:
            share /= 2
        weights = np.maximum(weights + share * step, 0.0)
        if share == limits.min():
            weights[limits.argmin()] = 0.0
            free[limits.argmin()] = False
        elif share <= SMALLEST or -slope <= 1e-24 * size:
            # The least there is among the free ones. One that is held and would fall is let go.
            gradient, _ = derivatives(weights)
            slopes = np.where(free, np.inf, gradient - weights @ gradient)
            if slopes.min() >= -ROUNDING * size:
                break
            free[slopes.argmin()] = True
        weights /= weights.sum()
    return weights


def _newton_step(gradient: np.ndarray, hessian: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Towards the least of the quadratic model among the free weights, whose sum stays."""
    index = np.flatnonzero(free)
    step = np.zeros_like(gradient)
    if len(index) < 2:
        return step
    part = hessian[np.ix_(index, index)]
    # More than rounding, so that a flat function has a step too.
    ridge = 1e-13 * np.trace(part) + np.finfo(float).tiny
    across = np.zeros((len(index), len(index) - 1))
    np.fill_diagonal(across, 1.0)
    across[-1] = -1.0
    reduced = across.T @ part @ across + ridge * np.eye(len(index) - 1)
    step[index] = across @ np.linalg.solve(reduced, -across.T @ gradient[index])
    return step
