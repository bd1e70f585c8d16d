"""PCGrad: gradients of tasks without what they do against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from m2h_mm.registry import MODELS

from .combination import GradientCombination
from .draws import Draws


@MODELS.register_module()
class PCGrad(GradientCombination):
    """Projecting conflicting gradients (Yu et al., arXiv 2001.06782, alg. 1).

    The gradient of each task with respect to the shared parameters is projected, in random order,
    onto the normal plane of every other task's gradient that it conflicts with (negative inner
    product). What the shared parameters get is the sum of the projected gradients, exactly; of
    heads, absent tasks, processes and accumulation see :class:`GradientCombination`.

    A projected sum is a sum with other factors: ``sum_k c_k g_k``. c_k of 1 says that nothing
    conflicts with task k, a larger one that others were projected onto the normal plane of its
    gradient.

    Args:
        tasks: task names; filled in by the model.
        base_weights: task name to a constant factor on its loss; 1 for a task that is not named.
            Gradients are compared with it.
        shared: parts of the model whose shared parameters are projected, as the names of its
            parameters begin. Memory and time grow with them, see :class:`GradientWeighting`.
        seed: of the order; the same in all processes, and it goes on after resuming.

    Raises:
        ValueError: see :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
        seed: int = 0,
    ) -> None:
        super().__init__(tasks, base_weights, shared)
        self.draws = Draws(seed)

    def coefficients(self, products: np.ndarray, tasks: Sequence[int]) -> np.ndarray:
        """A projected gradient stays a combination of the original ones, so that all of the
        algorithm happens in its coefficients.
        """
        generator = self.draws.next()
        places = {task: place for place, task in enumerate(tasks)}
        units = np.eye(len(tasks))
        total = np.zeros(len(tasks))
        for task in range(len(self.tasks)):
            order = generator.permutation(len(self.tasks))
            if task not in places:
                continue
            own = places[task]
            projected = units[own]
            for place in (places[other] for other in order if other in places):
                conflict = min(projected @ products[:, place], 0.0)
                if place != own:
                    projected = projected - conflict / products[place, place] * units[place]
            total = total + projected
        return total
