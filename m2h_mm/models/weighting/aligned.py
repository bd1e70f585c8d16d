"""AlignedMTL: the tasks' gradients with equally long principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from m2h_mm.registry import MODELS

from .combination import GradientCombination

LENGTHS = {'min': np.min, 'median': np.median, 'mean': np.mean}


@MODELS.register_module()
class AlignedMTL(GradientCombination):
    """Independent component alignment (Senushkin et al., CVPR 2023, alg. 1).

    The principal components of the matrix of gradients, which are what the tasks agree and disagree
    on, all get the length of the shortest; the sum of the aligned gradients goes to the shared
    parameters. No direction dominates, whatever the sizes of the losses. Factors can be negative.

    Args:
        tasks: task names; filled in by the model.
        length: ``'min'`` of the eigenvalues, as in the paper, or their ``'median'`` or ``'mean'``.
            With ``'min'`` the combined gradient is at most ``sqrt(t)`` times the shortest
            component: one task with a small gradient makes all of it small.
        tolerance: eigenvalues below this share of the largest one, times the number of tasks, are
            rounding and are left out. Default: that of float32, in which gradients are computed.
            The combined gradient jumps where an eigenvalue crosses it.
        base_weights: task name to a constant factor on its loss; 1 for a task that is not named.
            Gradients are compared with it.
        shared: see :class:`GradientCombination`, also of heads, absent tasks, processes and
            accumulation.

    Raises:
        ValueError: another ``length``, ``tolerance`` negative; see also :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        length: str = 'min',
        tolerance: float = float(np.finfo(np.float32).eps),
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        super().__init__(tasks, base_weights, shared)
        if length not in LENGTHS:
            raise ValueError(
                f'model.weighting.length (AlignedMTL): expected one of {list(LENGTHS)}, got '
                f'{length!r}.'
            )
        if tolerance < 0:
            raise ValueError(
                'model.weighting.tolerance (AlignedMTL): expected a number of at least 0, got '
                f'{tolerance}.'
            )
        self.length = length
        self.tolerance = tolerance

    def coefficients(self, products: np.ndarray, tasks: Sequence[int]) -> np.ndarray:
        values, vectors = np.linalg.eigh(products / np.trace(products))
        kept = values > values.max() * len(tasks) * self.tolerance
        values, vectors = values[kept], vectors[:, kept]
        along = vectors.sum(axis=0) / np.sqrt(values)
        return np.sqrt(LENGTHS[self.length](values)) * vectors @ along
