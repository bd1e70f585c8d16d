"""Samplers of frames of sequences: clips to train on, unbroken runs to evaluate on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sized

import numpy as np
from mmengine.dataset import ConcatDataset
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from m2h_mm.registry import DATA_SAMPLERS

from .samplers import DrawIndex, SeededInfiniteSampler


@DATA_SAMPLERS.register_module()
class ClipSampler(SeededInfiniteSampler):
    """Draws clips: frames of one sequence, ``stride`` apart, one after the other in order of time.

    All frames of a clip are drawn as one draw, and get the same random numbers: they are flipped,
    zoomed, cropped and coloured alike, and warp into each other exactly as before. The model sees
    them as separate images of the batch. So ``batch_size`` counts frames, and has to be a multiple
    of ``clip_length``.

    Of a :class:`MixedDataset`, members that are no sequences give single frames, ``clip_length`` of
    them in the place of a clip. Members count by the number of their clips or frames. Reproducible,
    resumable and distributed as :class:`SeededInfiniteSampler`.

    Args:
        dataset: a :class:`SequenceDataset`, or several data sets with at least one.
        clip_length: frames of a clip, at least 2.
        stride: from a frame of a clip to the next, in frames of the sequence, at least 1.
        shuffle: a new random order of the clips for each pass.
        seed: seed of order and augmentation; None takes one that all ranks share. mmengine fills in
            the run's seed.

    Raises:
        TypeError: no data set of sequences.
        ValueError: impossible numbers, or no sequence is so long.
    """

    def __init__(
        self,
        dataset: Sized,
        clip_length: int = 2,
        stride: int = 1,
        shuffle: bool = True,
        seed: int | None = None,
    ) -> None:
        if clip_length < 2 or stride < 1:
            raise ValueError(
                f'ClipSampler: expected clip_length of at least 2 and stride of at least 1, got '
                f'{clip_length} and {stride}.'
            )
        self.clip_length = clip_length
        members = dataset.datasets if isinstance(dataset, ConcatDataset) else [dataset]
        if not any(hasattr(member, 'clips') for member in members):
            raise TypeError(
                'ClipSampler: expected a SequenceDataset, or a MixedDataset with one, got '
                f'{type(dataset).__name__}; frames that are in no sequence are drawn by '
                'SeededInfiniteSampler.'
            )
        self._clips: list[np.ndarray] = []
        first = 0
        for member in members:
            if hasattr(member, 'clips'):
                self._clips.extend(member.clips(clip_length, stride) + first)
            else:
                self._clips.extend(np.arange(first, first + len(member))[:, None])
            first += len(member)
        super().__init__(dataset, shuffle, seed)
        self.size = len(self._clips)

    def __len__(self) -> int:
        return self.size * self.clip_length

    def _indices_of_rank(self) -> Iterator[DrawIndex]:
        draws = itertools.islice(self._draws(), self.rank, None, self.world_size)
        return itertools.chain.from_iterable(draws)

    def _draws(self) -> Iterator[list[DrawIndex]]:
        """What stands together in a batch: a clip, or as many single frames."""
        singles: list[int] = []
        draw = itertools.count()
        for number in self._infinite_indices():
            clip = self._clips[number].tolist()
            if len(clip) > 1:
                same = next(draw)
                yield [DrawIndex(index, same, self.seed) for index in clip]
                continue
            singles += clip
            if len(singles) == self.clip_length:
                yield [DrawIndex(index, next(draw), self.seed) for index in singles]
                singles = []


@DATA_SAMPLERS.register_module()
class SequenceSampler(Sampler):
    """Frames in the order of the data set, a run of neighbours for each process.

    To evaluate on sequences: measures of time compare a frame with the one before it, which has to
    come to the same process. The runs of W processes differ in length by one at most; the last
    frame of a shorter one comes twice, so that all have the same number of batches. mmengine's
    ``DefaultSampler`` deals frames out like cards instead; without several processes both are the
    same.

    Args:
        dataset: what to draw from.
        shuffle: has to be False; mmengine's configs state it.
        seed: has no effect; mmengine fills it in.
    """

    def __init__(self, dataset: Sized, shuffle: bool = False, seed: int | None = None) -> None:
        if shuffle:
            raise ValueError('SequenceSampler: frames of sequences stay in order; shuffle=False.')
        self.dataset = dataset
        self.rank, self.world_size = get_dist_info()

    def __iter__(self) -> Iterator[int]:
        size, world = len(self.dataset), self.world_size
        # Rank r of those that DefaultSampler would give one frame more comes first.
        shorter, longer = divmod(size, world)
        first = self.rank * shorter + min(self.rank, longer)
        run = list(range(first, first + shorter + (self.rank < longer)))
        yield from run
        if len(run) < len(self):
            yield run[-1] if run else size - 1

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Has no effect: every pass is the same."""
