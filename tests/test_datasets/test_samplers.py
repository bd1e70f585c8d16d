"""A resumed run sees the pixels that the uninterrupted one would have seen."""

import itertools
import pickle

import mmengine.dataset.sampler
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, DefaultSampler, RepeatDataset, pseudo_collate
from torch.utils.data import DataLoader

from m2h_mm.datasets import (
    BalancedSampler,
    DrawIndex,
    MixedDataset,
    NYUDDataset,
    SeededInfiniteSampler,
)
from m2h_mm.registry import DATA_SAMPLERS

BATCH = 2
AUGMENT = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='RandomZoom'),
    dict(type='RandomCrop', size=(16, 24)),
    dict(type='RandomFlip'),
    dict(type='PhotometricDistortion'),
    dict(type='Pad', size=(16, 24)),
    dict(type='PackMultiTaskInputs'),
]


def batches(dataset, count, skip=0, workers=0, seed=3):
    sampler = SeededInfiniteSampler(dataset, seed=seed)
    sampler.skip(skip * BATCH)
    loader = iter(
        DataLoader(dataset, BATCH, sampler=sampler, num_workers=workers, collate_fn=pseudo_collate)
    )
    return [next(loader) for _ in range(count)]


def fingerprint(batch):
    samples = batch['data_samples']
    return [
        torch.cat(
            [
                image.flatten().double(),
                sample.gt_depth.data.flatten().double(),
                sample.gt_semseg.data.flatten().double(),
                torch.from_numpy(sample.cam2img).flatten(),
            ]
        )
        for image, sample in zip(batch['inputs'], samples, strict=True)
    ]


def assert_same(left, right):
    for one, other in zip(left, right, strict=True):
        for a, b in zip(fingerprint(one), fingerprint(other), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_run_sees_the_same_pixels(make_nyud, workers):
    dataset = NYUDDataset(make_nyud(count=5), pipeline=AUGMENT)
    whole = batches(dataset, 6)
    torch.manual_seed(17)  # neither the global generators nor what was drawn before may matter
    assert_same(batches(dataset, 3, skip=3, workers=workers), whole[3:])


def test_draws_differ_and_seed_matters(make_nyud):
    dataset = NYUDDataset(make_nyud(count=1), pipeline=AUGMENT)
    drawn = [*batches(dataset, 3), *batches(dataset, 3, seed=4)]
    prints = [tuple(frame.tolist()) for batch in drawn for frame in fingerprint(batch)]
    assert len(set(prints)) == len(prints) == 12


def test_ranks_share_the_draws(monkeypatch):
    streams = []
    for rank in range(2):
        monkeypatch.setattr(mmengine.dataset.sampler, 'get_dist_info', lambda rank=rank: (rank, 2))
        sampler = SeededInfiniteSampler(range(5), seed=0)
        sampler.skip(3)
        stream = iter(sampler)
        streams.append([next(stream) for _ in range(10)])
    assert [[index.draw for index in stream] for stream in streams] == [
        list(range(6, 26, 2)),
        list(range(7, 27, 2)),
    ]
    merged = [int(index) for pair in zip(*streams, strict=True) for index in pair]
    assert sorted(merged[4:9]) == [0, 1, 2, 3, 4]  # draws 10..14: one whole pass


def test_same_order_as_mmengine():
    ours = iter(SeededInfiniteSampler(range(7), seed=5))
    theirs = iter(mmengine.dataset.sampler.InfiniteSampler(range(7), seed=5))
    assert [next(ours) for _ in range(20)] == [next(theirs) for _ in range(20)]


def test_draw_index_is_an_int_that_travels():
    index = DrawIndex(7, draw=41, seed=2)
    for moved in (pickle.loads(pickle.dumps(index)), index - 0, index % 100):
        assert moved == 7 and (moved.draw, moved.seed) == (41, 2)
        assert moved.generator().random() == index.generator().random()
    assert (index - 5) == 2 and (index % 4) == 3 and list(range(10))[index] == 7
    assert DrawIndex(7, 42, 2).generator().random() != index.generator().random()


def test_wrappers_pass_the_draw_on(make_nyud):
    dataset = NYUDDataset(make_nyud(count=2), pipeline=[lambda results: results['rng'].random()])
    expected = DrawIndex(0, 9, 1).generator().random()
    assert ConcatDataset([dataset, dataset])[DrawIndex(3, 9, 1)] == expected
    assert RepeatDataset(dataset, 2)[DrawIndex(3, 9, 1)] == expected


def test_plain_index_draws_from_numpy(make_nyud):
    dataset = NYUDDataset(make_nyud(count=1), pipeline=[lambda results: results['rng'].random()])
    np.random.seed(0)
    first, second = dataset[0], dataset[0]
    np.random.seed(0)
    assert dataset[0] == first != second


def test_default_sampler_serves_too(make_nyud):
    dataset = NYUDDataset(make_nyud(count=2), pipeline=AUGMENT)
    loader = DataLoader(
        dataset, BATCH, sampler=DefaultSampler(dataset, shuffle=False), collate_fn=pseudo_collate
    )
    assert [sample.frame_id for sample in next(iter(loader))['data_samples']] == ['0000', '0001']


def test_built_by_name():
    sampler = DATA_SAMPLERS.build(
        dict(type='SeededInfiniteSampler'), default_args=dict(dataset=range(3), seed=1)
    )
    assert isinstance(next(iter(sampler)), DrawIndex)


# ---- balanced
class Members:
    """What the sampler sees of a MixedDataset: names and sizes."""

    def __init__(self, **sizes):
        self.names = tuple(sizes)
        self.cumulative_sizes = np.cumsum(list(sizes.values())).tolist()

    def __len__(self):
        return self.cumulative_sizes[-1]

    def name(self, index):
        return self.names[np.searchsorted(self.cumulative_sizes, index, side='right')]


MEMBERS = Members(small=3, large=500, other=40)


def draws(count=6000, seed=2, **arguments):
    return list(itertools.islice(iter(BalancedSampler(MEMBERS, seed=seed, **arguments)), count))


@pytest.mark.parametrize(
    ('weights', 'shares'),
    [
        (None, (1 / 3, 1 / 3, 1 / 3)),
        (dict(large=2), (0.25, 0.5, 0.25)),
        (dict(small=0, other=3), (0, 0.25, 0.75)),
    ],
)
def test_members_are_drawn_by_weight_whatever_their_size(weights, shares):
    names = [MEMBERS.name(index) for index in draws(weights=weights)]
    for name, share in zip(MEMBERS.names, shares, strict=True):
        # Four standard deviations of a binomial count.
        assert abs(names.count(name) / 6000 - share) <= 4 * (share * (1 - share) / 6000) ** 0.5


@pytest.mark.parametrize('shuffle', [True, False])
def test_each_member_is_drawn_in_whole_passes(shuffle):
    indices = draws(shuffle=shuffle)
    for first, end in ((0, 3), (3, 503), (503, 543)):
        own = [int(index) for index in indices if first <= index < end]
        passes = [
            own[start : start + end - first]
            for start in range(0, len(own) - (end - first) + 1, end - first)
        ]
        assert len(passes) > 1 and all(sorted(one) == list(range(first, end)) for one in passes)
        assert all((one == sorted(one)) != shuffle for one in passes if end - first > 3)
        assert (passes[0] == passes[1]) != shuffle or end - first == 3


def test_balanced_draws_are_reproducible_resumable_and_dealt_to_the_ranks(monkeypatch):
    whole = draws(900)
    assert whole == draws(900) and whole != draws(900, seed=3)
    assert [index.draw for index in whole] == list(range(900))
    sampler = BalancedSampler(MEMBERS, seed=2)
    sampler.skip(700)
    resumed = list(itertools.islice(iter(sampler), 200))
    assert resumed == whole[700:] and resumed[0].draw == 700
    for rank in range(2):
        monkeypatch.setattr(mmengine.dataset.sampler, 'get_dist_info', lambda rank=rank: (rank, 2))
        dealt = draws(450)
        assert dealt == whole[rank::2] and [index.draw for index in dealt] == list(
            range(rank, 900, 2)
        )


def test_the_order_is_not_made_of_the_numbers_of_the_augmentation():
    """DrawIndex(_, draw, seed) seeds with (seed, draw): the order must come from another stream."""
    order = [index - 3 for index in draws() if 3 <= index < 503][:500]
    assert all(
        np.random.default_rng(seed).permutation(500).tolist() != order
        for seed in (2, *((2, draw) for draw in range(5)))
    )


@pytest.mark.parametrize(
    ('dataset', 'weights', 'error', 'message'),
    [
        (
            MEMBERS,
            dict(huge=1),
            ValueError,
            r"BalancedSampler\.weights.*'small', 'large', "
            r"'other'.*'huge'",
        ),
        (MEMBERS, dict(small=-1), ValueError, 'BalancedSampler.weights'),
        (MEMBERS, dict(small=0, large=0, other=0), ValueError, 'one of them above'),
        (range(5), None, TypeError, 'expected a MixedDataset, got range.*SeededInfiniteSampler'),
    ],
)
def test_wrong_weights_are_refused(dataset, weights, error, message):
    with pytest.raises(error, match=message):
        BalancedSampler(dataset, weights, seed=0)


def test_balanced_sampler_is_built_by_name_over_a_mixed_data_set(make_nyud):
    mixed = MixedDataset(
        dict(one=NYUDDataset(make_nyud(count=1)), five=NYUDDataset(make_nyud(count=5, name='five')))
    )
    sampler = DATA_SAMPLERS.build(
        dict(type='BalancedSampler', weights=dict(one=9)), default_args=dict(dataset=mixed, seed=1)
    )
    indices = list(itertools.islice(iter(sampler), 100))
    assert (
        set(indices) == set(range(6))
        and indices.count(0) > 75
        and isinstance(indices[0], DrawIndex)
    )
