"""Which frame comes next, and with which random numbers it is augmented."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from mmengine.dataset import InfiniteSampler

from m2h_mm.registry import DATA_SAMPLERS


class DrawIndex(int):
    """The index of a frame that also knows which draw of the training run it is.

    Everything random about the sample follows from ``(seed, draw)``, so it does not matter which worker prepares it,
    nor what was prepared before. It is an ``int`` for everybody who only wants the index. It survives pickling (the way
    to the workers) and ``index - offset`` and ``index % length``, with which ``ConcatDataset`` and ``RepeatDataset``
    pass it on.

    Args:
        index: index into the data set.
        draw: number of the draw, counted over all ranks from the start of training.
        seed: seed of the run.
    """

    draw: int
    seed: int

    def __new__(cls, index: int, draw: int, seed: int) -> DrawIndex:
        self = super().__new__(cls, index)
        self.draw = draw
        self.seed = seed
        return self

    def generator(self) -> np.random.Generator:
        """A fresh generator of this draw's random numbers."""
        return np.random.default_rng((self.seed, self.draw))

    def __reduce__(self) -> tuple:
        return DrawIndex, (int(self), self.draw, self.seed)

    def __sub__(self, offset: int) -> DrawIndex:
        return DrawIndex(int(self) - offset, self.draw, self.seed)

    def __mod__(self, length: int) -> DrawIndex:
        return DrawIndex(int(self) % length, self.draw, self.seed)


@DATA_SAMPLERS.register_module()
class SeededInfiniteSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` whose indices are :class:`DrawIndex`: the sampler to train with.

    A resumed run skips the draws that were consumed (``skip``, called by mmengine) and goes on with the very pixels
    that the uninterrupted run would have seen, for any number of workers. For that the seed has to be the same in both
    runs: set ``randomness=dict(seed=...)`` in the config, or ``seed`` here.

    With mmengine's ``DefaultSampler`` (plain indices) a data set augments from NumPy's global generator, which cannot
    be resumed and repeats itself when workers are started anew each epoch; keep it for validation and test.

    Args:
        dataset: the data set to draw from.
        shuffle: a new random order for each pass.
        seed: seed of order and augmentation; None takes one that all ranks share. mmengine fills in the run's seed.
    """

    def _indices_of_rank(self) -> Iterator[DrawIndex]:
        draws = itertools.islice(enumerate(self._infinite_indices()), self.rank, None, self.world_size)
        for draw, index in draws:
            yield DrawIndex(index, draw, self.seed)
