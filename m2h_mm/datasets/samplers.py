"""Samplers of training frames, seeded and resumable."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from mmengine.dataset import ConcatDataset, InfiniteSampler

from m2h_mm.registry import DATA_SAMPLERS

_BLOCK = 256  # members that are chosen in one call; part of the order


class DrawIndex(int):
    """The index of a frame that also knows which draw of the training run it is.

    Everything random about the sample follows from ``(seed, draw)``, so it does not matter which
    worker prepares it, nor what was prepared before. It is an ``int`` for everybody who only wants
    the index. It survives pickling (the way to the workers) and ``index - offset`` and ``index %
    length``, with which ``ConcatDataset`` and ``RepeatDataset`` pass it on.

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
    """mmengine's ``InfiniteSampler`` whose indices are :class:`DrawIndex`: the sampler to train
    with.

    A resumed run skips the draws that were consumed (``skip``, called by mmengine) and goes on with
    the very pixels that the uninterrupted run would have seen, for any number of workers. For that
    the seed has to be the same in both runs: set ``randomness=dict(seed=...)`` in the config, or
    ``seed`` here.

    With mmengine's ``DefaultSampler`` (plain indices) a data set augments from NumPy's global
    generator, which cannot be resumed and repeats itself when workers are started anew each epoch;
    keep it for validation and test.

    Args:
        dataset: the data set to draw from.
        shuffle: a new random order for each pass.
        seed: seed of order and augmentation; None takes one that all ranks share. mmengine fills in
            the run's seed.
    """

    def _indices_of_rank(self) -> Iterator[DrawIndex]:
        draws = itertools.islice(
            enumerate(self._infinite_indices()), self.rank, None, self.world_size
        )
        for draw, index in draws:
            yield DrawIndex(index, draw, self.seed)


@DATA_SAMPLERS.register_module()
class BalancedSampler(SeededInfiniteSampler):
    """Draws from the members of a :class:`MixedDataset` in given proportions, whatever their sizes.

    Every draw chooses a member at random, then takes the next frame of that member's own pass: each
    of its frames comes once before any comes again. Reproducible, resumable and distributed as
    :class:`SeededInfiniteSampler`.

    Args:
        dataset: a :class:`MixedDataset`.
        weights: member's name to its share of the draws, in any unit; 1 for those that are not
            named.
        shuffle: a new random order for each pass.
        seed: seed of order and augmentation; None takes one that all ranks share. mmengine fills in
            the run's seed.

    Raises:
        TypeError: another data set.
        ValueError: weights for names that it does not have, negative ones, or none above 0.
    """

    def __init__(
        self,
        dataset: ConcatDataset,
        weights: Mapping[str, float] | None = None,
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        if not hasattr(dataset, 'names'):
            raise TypeError(
                f'BalancedSampler: expected a MixedDataset, got {type(dataset).__name__}; a '
                'single data set is drawn from by SeededInfiniteSampler.'
            )
        weights = dict(weights or {})
        numbers = np.array([weights.get(name, 1.0) for name in dataset.names])
        if not set(weights) <= set(dataset.names) or (numbers < 0).any() or not numbers.sum() > 0:
            raise ValueError(
                'BalancedSampler.weights: expected numbers of at least 0, one of them above, for '
                f'names among {list(dataset.names)}, got {weights}.'
            )
        self.shares = numbers / numbers.sum()
        super().__init__(dataset, shuffle, seed)

    def _infinite_indices(self) -> Iterator[int]:
        # Spawned, and so never the random numbers of a DrawIndex.
        seed, *seeds = np.random.SeedSequence(self.seed).spawn(1 + len(self.shares))
        ends = [0, *self.dataset.cumulative_sizes]
        members = [
            self._passes(np.arange(first, end), np.random.default_rng(seed))
            for first, end, seed in zip(ends, ends[1:], seeds, strict=False)
        ]
        chooser = np.random.default_rng(seed)
        while True:
            for member in chooser.choice(len(members), _BLOCK, p=self.shares):
                yield next(members[member])

    def _passes(self, indices: np.ndarray, rng: np.random.Generator) -> Iterator[int]:
        while True:
            yield from (rng.permutation(indices) if self.shuffle else indices).tolist()
