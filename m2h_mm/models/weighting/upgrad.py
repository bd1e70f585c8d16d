"""UPGrad: the sum, of which no part harms a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from m2h_mm.registry import MODELS

from .combination import GradientCombination


@MODELS.register_module()
class UPGrad(GradientCombination):
    """Unconflicting projection of gradients (Quinton and Rey, arXiv 2406.16232, sec. 3).

    The gradient of each task is projected onto the cone of the directions that are against no
    task's gradient; the shared parameters get the sum of the projections. Without conflict that is
    the plain sum, and then all factors are 1. (The paper takes the mean; it is multiplied by the
    number of tasks here.) It is unique, continuous and has no state but the loss scale.

    Each projection is a quadratic program for its factors v, solved exactly: the least ``v N v``
    with ``v >= e_k``, e_k of 1 for the task itself and 0 for the others, N the inner products over
    their trace, plus ``regularisation`` on the diagonal. What the regularisation leaves of a
    conflict is of its size. Tiny gradients are projected as large ones are. Of heads, absent tasks,
    processes and accumulation see :class:`GradientCombination`.

    Args:
        tasks: task names; filled in by the model.
        regularisation: above 0.
        base_weights: task name to a constant factor on its loss; 1 for a task that is not named.
            Gradients are compared with it.
        shared: see :class:`GradientCombination`.

    Raises:
        ValueError: ``regularisation`` not above 0; see also :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        regularisation: float = 1e-4,
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        super().__init__(tasks, base_weights, shared)
        if regularisation <= 0:
            raise ValueError(
                'model.weighting.regularisation (UPGrad): expected a number above 0, got '
                f'{regularisation}.'
            )
        self.regularisation = regularisation

    def coefficients(self, products: np.ndarray, tasks: Sequence[int]) -> np.ndarray:
        return unconflicting(products, self.regularisation)


def unconflicting(products: np.ndarray, regularisation: float) -> np.ndarray:
    """The factors of the gradients in the sum of the projections.

    Args:
        products: inner products of the gradients ``(t, t)``.
        regularisation: relative to their trace.
    """
    from scipy.optimize import nnls

    count = len(products)
    scaled = products / np.trace(products) + regularisation * np.eye(count)
    # v N v = |R v|^2 with N = R^T R, and v = e_k + x with x >= 0.
    root = np.linalg.cholesky(scaled).T
    return sum(unit + nnls(root, -root @ unit)[0] for unit in np.eye(count))
