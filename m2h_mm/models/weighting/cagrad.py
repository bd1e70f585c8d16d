"""CAGrad: close to the mean gradient, and best for the task that is worst off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from m2h_mm.registry import MODELS

from .combination import GradientCombination
from .simplex import minimise_on_simplex

SMOOTHING = 1e-12  # of the roots, relative to the mean square of the gradients


@MODELS.register_module()
class CAGrad(GradientCombination):
    """Conflict-averse gradient descent (Liu et al., NeurIPS 2021, alg. 1).

    Of all directions within ``c |g0|`` of the mean gradient g0, the one in which the task that
    gains least gains most: ``g0 + c |g0| g_w / |g_w|``, with g_w the combination of the gradients,
    of weights w >= 0 that add up to 1, that minimises ``g_w . g0 + c |g0| |g_w|``. It is divided by
    ``1 + c^2``, as in the authors' code (``rescale=1``), and multiplied by the number of tasks, so
    that c = 0 is the plain sum.

    The minimum is found exactly, to rounding, on gradients scaled by their mean square. (SLSQP with
    its default tolerance, which the authors use, returns the start for gradients below 0.01 and
    above 1000.) Of heads, absent tasks, processes and accumulation see
    :class:`GradientCombination`. There is no state to save but the loss scale.

    Args:
        tasks: task names; filled in by the model.
        c: from 0 (the sum) to below 1; the paper takes 0.4 on NYUD-v2.
        base_weights: task name to a constant factor on its loss; 1 for a task that is not named.
            Gradients are compared with it.
        shared: see :class:`GradientCombination`.

    Raises:
        ValueError: ``c`` below 0, or 1 and above; see also :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        c: float = 0.4,
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        super().__init__(tasks, base_weights, shared)
        if not 0 <= c < 1:
            raise ValueError(
                f'model.weighting.c (CAGrad): expected a number from 0 to below 1, got {c}.'
            )
        self.c = c

    def coefficients(self, products: np.ndarray, tasks: Sequence[int]) -> np.ndarray:
        scaled = products / np.diag(products).mean()
        return len(tasks) * conflict_averse(scaled, self.c, SMOOTHING) / (1 + self.c**2)


def conflict_averse(products: np.ndarray, c: float, smoothing: float) -> np.ndarray:
    """The factors of the gradients in ``g0 + R g_w / |g_w|``.

    Args:
        products: inner products of the gradients ``(t, t)``.
        c: radius over the length of the mean gradient.
        smoothing: added under every root, and to R and to ``|g_w|``, so that nothing is divided by
            zero.
    """
    count = len(products)
    towards_mean = products.mean(axis=1)
    radius = c * np.sqrt(products.mean() + smoothing) + smoothing

    def derivatives(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        along = products @ weights
        length = np.sqrt(max(weights @ along, 0.0) + smoothing)
        gradient = towards_mean + radius * along / length
        return gradient, radius * (products / length - np.outer(along, along) / length**3)

    weights = minimise_on_simplex(derivatives, count)
    length = np.sqrt(max(weights @ products @ weights, 0.0))
    return 1 / count + radius / (length + smoothing) * weights
