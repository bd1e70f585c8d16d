"""FairGrad: weights by which all tasks gain alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .gradients import GradientWeighting, inner_products

STEPS = 200
LARGEST = 1e4  # of a weight times its gradient's length; beyond, gradients cancel each other
RIDGE = 1e-8


@MODELS.register_module()
class FairGrad(GradientWeighting):
    """Alpha-fair weights (Ban and Ji, ICML 2024, eq. 6); with alpha = 1 they are those of Nash-MTL
    (Navon et al., ICML 2022, eq. 1).

    The weights w > 0 solve ``g_k . d = w_k ^ (-1 / alpha)`` for every task, d the weighted sum of
    the gradients g of the shared parameters: every task gains, and the more alpha, the more alike.
    With alpha = 1 the scale of the losses does not matter.

    The weights multiply the losses, so that heads, and what of the backbone is trained, see the
    same weights as the shared parameters. They are divided by their geometric mean, so that equal
    weights are 1 and the step shrinks as the gradients do. (The papers' own length is sqrt(number
    of tasks), whatever the gradients, so that they clip it to 1.)

    The solution is the minimum of a convex function, found by Newton's method in float64; the
    device is asked once in a step. Where gradients cancel each other there is none, and one of a
    slightly changed problem is taken.

    A task whose gradient is zero (no labelled pixel) or not finite has weight 1, and the others are
    weighed among themselves. In a distributed training the weights are those of the gradients of
    all frames, as in one process with all of them; with accumulation, those of the iteration's own.
    There is no state to save but the loss scale.

    Args:
        tasks: task names; filled in by the model.
        alpha: fairness, above 0; 1: proportional, as Nash-MTL; towards infinity, equal gains.
        base_weights: task name to a constant factor on its loss; 1 for a task that is not named.
        shared: parts of the model whose shared parameters are looked at, as the names of its
            parameters begin. Memory and time grow with them, see :class:`GradientWeighting`.

    Raises:
        ValueError: ``alpha`` not above 0; see also :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        alpha: float = 1.0,
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        super().__init__(tasks, base_weights, shared)
        if alpha <= 0:
            raise ValueError(
                f'model.weighting.alpha (FairGrad): expected a number above 0, got {alpha}.'
            )
        self.alpha = alpha
        self.register_buffer('current', torch.ones(len(self.tasks)), persistent=False)

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(
        self, losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter] = ()
    ) -> dict[str, Tensor]:
        self.current = torch.ones_like(self.current)
        if self.learns_from(losses):
            weighted = super().forward(losses)
            with torch.autocast(self.base.device.type, enabled=False):
                _, rows = self.task_gradients(weighted, parameters)
            usable = self.usable_rows(rows)
            # The one time that the device is asked.
            found = torch.cat((inner_products(rows), usable[None].double())).cpu().numpy()
            products, present = found[:-1], np.flatnonzero(found[-1])
            if len(present) > 1:
                factors = np.ones(len(self.tasks))
                weights = fair_weights(products[np.ix_(present, present)], self.alpha)
                factors[present] = weights / np.exp(np.log(weights).mean())
                self.current = torch.as_tensor(factors).to(self.base, non_blocking=True)
        return super().forward(losses)


def fair_weights(products: np.ndarray, alpha: float) -> np.ndarray:
    """Weights ``(t,)`` above 0 with ``(M w)_k = w_k ^ (-1 / alpha)``.

    Args:
        products: M, the inner products of the gradients ``(t, t)``, none of them zero.
        alpha: above 0.
    """
    lengths = np.sqrt(np.diag(products))
    cosines = products / np.outer(lengths, lengths)
    # With u_k = w_k |g_k|: (cosines u)_k = |g_k| ^ (1 / alpha - 1) u_k ^ (-1 / alpha). The common
    # length, of which only the scale of u depends, is taken out.
    power = 1 / alpha
    common = np.exp(np.log(lengths).mean())
    wanted = (lengths / common) ** (power - 1)
    found = _newton(cosines, wanted, power)
    if found.max() > LARGEST * max(1.0, wanted.max()):
        found = _newton(cosines + RIDGE * np.eye(len(cosines)), wanted, power)
    return found * common ** ((power - 1) / (power + 1)) / lengths


def _newton(cosines: np.ndarray, wanted: np.ndarray, power: float) -> np.ndarray:
    """The least ``u C u / 2 - sum_k wanted_k phi(u_k)`` with ``phi' = u ^ -power``. Where there is
    none, because u grows beyond all bounds, some large u.
    """
    found = wanted ** (1 / (1 + power))  # the solution for orthogonal gradients

    def residual(u: np.ndarray) -> np.ndarray:
        return cosines @ u - wanted * u**-power

    bound = 10 * LARGEST * max(1.0, wanted.max())
    for _ in range(STEPS):
        gradient = residual(found)
        pull = wanted * found**-power
        hessian = cosines + np.diag(power * pull / found)
        step = np.linalg.solve(hessian, -gradient)
        decrease = -gradient @ step
        if decrease <= 1e-28 * (pull @ found):
            break
        shrink = (-step / found).max()
        share = 1.0 if shrink < 0.5 else 0.5 / shrink
        # Of a convex function: it has been gone too far where it rises again.
        while share > 1e-10 and residual(found + share * step) @ step > 0.5 * decrease:
            share /= 2
        found = found + share * step
        if found.max() > bound:
            break
    return found
