"""GradNorm: weights from the norms of the tasks' gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS

from .gradients import GradientWeighting


@MODELS.register_module()
class GradNorm(GradientWeighting):
    """Gradient normalisation (Chen et al., arXiv 1711.02257, sec. 3.1, 3.2).

    ``G_k = |grad w_k L_k|`` is the norm of a task's weighted gradient with respect to the shared
    parameters, ``r_k`` its inverse training rate, ``L_k / L_k(0)`` over the mean of that over the
    tasks. The weights follow the gradient of eq. 2, ``sum_k |G_k - mean(G) r_k ^ alpha|`` with the
    target held constant, after which they are scaled to add up to the number of tasks. A task that
    is behind, or whose gradient is small, gets more weight.

    The paper leaves the optimiser of the weights open. Here it is gradient descent on the
    logarithms of the weights, with eq. 2 divided by ``mean(G)``: weights stay positive, and
    ``learning_rate`` is a relative step that does not depend on the scale of the gradients. The
    weights are buffers: neither the model's optimizer nor its schedule, decay or clipping touches
    them. The paper's shared layer is the last one; here it is all that is shared of the model's
    parts ``shared``, see :class:`GradientWeighting`, also for what it costs.

    A task whose loss is absent, exactly 0 (no labelled pixel) or not finite keeps its weight and
    counts in no mean. L(0) is the first loss that counts. In a distributed training losses
    and gradients are averaged over the processes, hence all have the same weights.

    Args:
        tasks: task names; filled in by the model.
        alpha: how strongly tasks that are behind are favoured; 0: all gradients get one norm.
        learning_rate: of the logarithms of the weights.
        base_weights: task name to a constant factor on its loss, where the weights start; 1 for a
            task that is not named.
        shared: parts of the model whose shared parameters are looked at, as the names of its
            parameters begin; ``['decoder.interaction']`` costs less than all.

    Raises:
        ValueError: ``alpha`` negative, ``learning_rate`` not above 0; see also
            :class:`GradientWeighting`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        alpha: float = 1.5,
        learning_rate: float = 0.025,
        base_weights: Mapping[str, float] | None = None,
        shared: Sequence[str] = ('neck', 'decoder'),
    ) -> None:
        super().__init__(tasks, base_weights, shared)
        if alpha < 0 or learning_rate <= 0:
            raise ValueError(
                'model.weighting (GradNorm): expected alpha >= 0 and learning_rate > 0, got '
                f'{alpha} and {learning_rate}.'
            )
        self.alpha = alpha
        self.learning_rate = learning_rate
        self.register_buffer('current', torch.ones(len(self.tasks)))
        self.register_buffer('initial', torch.zeros(len(self.tasks)))  # L(0); 0: none yet

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(
        self, losses: Mapping[str, Tensor], parameters: Sequence[nn.Parameter] = ()
    ) -> dict[str, Tensor]:
        weighted = super().forward(losses)
        if self.learns_from(losses):
            with torch.autocast(self.base.device.type, enabled=False):
                _, gradients = self.task_gradients(losses, parameters)
                self._learn(losses, self.base * gradients.norm(dim=1))
        return weighted

    @torch.no_grad()
    def _learn(self, losses: Mapping[str, Tensor], norms: Tensor) -> None:
        values, usable = self.observe(losses)
        usable &= torch.isfinite(norms)
        norms = torch.where(usable, norms, 0.0)

        def mean(numbers: Tensor) -> Tensor:
            return torch.where(usable, numbers, 0.0).sum() / usable.sum().clamp(min=1)

        self.initial = torch.where((self.initial == 0) & usable, values, self.initial)
        ratios = values / torch.where(usable, self.initial, 1.0)
        rates = ratios / torch.where(usable.any(), mean(ratios), 1.0)
        weighted = self.current * norms
        average = mean(weighted)
        direction = torch.sign(weighted - average * rates**self.alpha)
        moving = usable & (average > 0)
        steps = torch.where(moving, direction * weighted / average, 0.0)
        moved = self.current * torch.exp(-self.learning_rate * steps)
        # Those that rest keep theirs; the others share what they had together. New tensors: a graph
        # that still holds the old weights must not see them change before its backward pass.
        total = torch.where(usable, self.current, 0.0).sum() / torch.where(
            usable, moved, 0.0
        ).sum().clamp(min=1e-12)
        self.current = torch.where(usable, moved * total, self.current)
