"""Random numbers that are the same in all processes and go on after resuming."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Draws(nn.Module):
    """Random numbers that follow from a seed and the number of the draw: the same in all processes
    of a training, and after resuming as without.

    Args:
        seed: any integer from 0 on; another one gives other numbers.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.register_buffer('count', torch.zeros((), dtype=torch.long))
        # The same number outside the device: asking a GPU for it would stall every forward pass.
        self._count = 0

    def next(self) -> np.random.Generator:
        """A fresh generator for the next draw."""
        generator = np.random.default_rng((self.seed, self._count))
        self.count += 1
        self._count += 1
        return generator

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
        self._count = int(self.count)
