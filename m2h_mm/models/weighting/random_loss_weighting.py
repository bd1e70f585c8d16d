"""RandomLossWeighting: random weights, the control of those that learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from m2h_mm.registry import MODELS

from .base import Weighting
from .draws import Draws


@MODELS.register_module()
class RandomLossWeighting(Weighting):
    """Random loss weighting (Lin et al., arXiv 2111.10603, sec. 3): new weights in every iteration,
    ``K softmax(z)`` with z standard normal and K tasks. Each weight is 1 on average.

    The control of all weightings that learn: what does not beat it has learned nothing of use. (The
    paper's weights add up to 1; here, as everywhere, to K, so that a learning rate means the same.)

    Only forward passes in training mode draw. All processes of a distributed training draw the
    same, and a resumed training goes on with the next draw.

    Args:
        tasks: task names; filled in by the model.
        base_weights: task name to a constant factor on top; 1 for a task that is not named.
        seed: of the draws.

    Raises:
        ValueError: ``base_weights`` names a task that the model lacks, or holds a negative factor.
    """

    def __init__(
        self, tasks: Sequence[str], base_weights: Mapping[str, float] | None = None, seed: int = 0
    ) -> None:
        super().__init__(tasks, base_weights)
        self.draws = Draws(seed)
        self.register_buffer('current', torch.ones(len(self.tasks)))

    @property
    def factors(self) -> Tensor:
        return self.current

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.training:
            numbers = torch.from_numpy(self.draws.next().standard_normal(len(self.tasks)))
            # A new tensor: a graph that still holds the old weights must not see them change before
            # its backward pass.
            self.current = (len(self.tasks) * numbers.softmax(dim=0)).to(
                self.base, non_blocking=True
            )
        return super().forward(losses)
