"""The metrics of change from frame to frame."""

import math

import numpy as np
import pytest
import torch
from label_fields import label_field
from mmengine.structures import PixelData
from room_views import room_views

from m2h_mm.datasets import sequence_samplers
from m2h_mm.evaluation import MixedEvaluator, MultiTaskEvaluator
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Depth, Semseg, stability
from m2h_mm.tasks import pooled_metric as pooled
from m2h_mm.tasks.depth.stability import DepthStability
from m2h_mm.tasks.semseg.stability import SemsegStability

TASKS = ('semseg', 'depth', 'normals', 'edge')
METRICS = dict.fromkeys(TASKS) | {
    f'{name}_stability': dict(type=f'{name}_stability', task=name) for name in TASKS
}
KEYS = [
    'depth_stability/change',
    'edge_stability/unmatched',
    'normals_stability/angle',
    'semseg_stability/flips',
]


def sample(view, index, sequence='a', **meta):
    """A frame whose predictions are the true maps."""
    classes = view['semseg'][0].long()
    maps = dict(
        semseg=classes - 1,
        depth=view['depth'][0],
        normals=view['normals'][0],
        edge=(classes != classes.roll(1, -1)).float(),
    )
    meta = (
        dict(
            sequence=sequence,
            frame_index=index,
            cam2img=view['cam2img'][0].numpy(),
            cam2world=view['cam2world'][0].numpy(),
        )
        | meta
    )
    made = MultiTaskDataSample(metainfo={k: v for k, v in meta.items() if v is not None})
    made.gt_depth = label_field(view['depth'][0])
    for name, map in maps.items():
        made.set_field(PixelData(data=map), f'pred_{name}')
    return made


@pytest.fixture(scope='module')
def views():
    steps = [(0.02 * i, 0.01 * i, 0.03 * i) for i in range(3)]
    return room_views(3, steps, (96, 128), [0.01 * i for i in range(3)])


def evaluate(samples, evaluator=None):
    evaluator = evaluator or MultiTaskEvaluator(TASKS, METRICS)
    for made in samples:
        evaluator.process([made])
    return evaluator.evaluate(len(samples))


def test_true_maps_do_not_change_and_shuffled_ones_do(views):
    true = evaluate([sample(view, index) for index, view in enumerate(views)])
    assert sorted(true) == KEYS
    assert true['semseg_stability/flips'] < 0.1 and true['depth_stability/change'] < 0.2
    assert true['normals_stability/angle'] < 1.5 and true['edge_stability/unmatched'] < 6
    # The right places and labels, but the predictions of other frames of another room.
    others = room_views(5, [(0, 0, 0)] * 3, (96, 128), [0.0, 1.0, 2.0])
    mixed = []
    for index, (view, other) in enumerate(zip(views, others, strict=True)):
        made, strange = sample(view, index), sample(other, index)
        for name in TASKS:
            made.set_field(strange.get(f'pred_{name}'), f'pred_{name}')
        mixed.append(made)
    shuffled = evaluate(mixed)
    assert shuffled['semseg_stability/flips'] > 20 and shuffled['depth_stability/change'] > 10
    assert shuffled['normals_stability/angle'] > 20 and shuffled['edge_stability/unmatched'] > 30


def still(index, sequence='a', **meta):
    """A frame of a camera that stands still before a wall, 4 m away."""
    camera = np.array([[8.0, 0, 3.5], [0, 8.0, 2.5], [0, 0, 1]])
    meta = dict(sequence=sequence, frame_index=index, cam2img=camera, cam2world=np.eye(4)) | meta
    made = MultiTaskDataSample(metainfo={k: v for k, v in meta.items() if v is not None})
    made.gt_depth = label_field(torch.full((1, 6, 8), 4.0))
    rng = np.random.default_rng((index, ord(sequence)))
    made.pred_semseg = PixelData(data=torch.from_numpy(rng.integers(0, 3, (1, 6, 8))))
    made.pred_depth = PixelData(data=torch.full((1, 6, 8), 4.0 + 0.1 * index))
    return made


def metrics():
    return SemsegStability(Semseg(3)), DepthStability(Depth(), prefix='change_of')


def run(samples, of=0):
    metric = metrics()[of]
    metric.process(None, [made.to_dict() for made in samples])
    return next(iter(metric.evaluate(len(samples)).values()))


def test_what_is_counted():
    frames = [still(index) for index in range(3)]
    classes = [made.pred_semseg.data for made in frames]
    flips = [(a != b).float().mean() for a, b in zip(classes[:-1], classes[1:], strict=True)]
    assert run(frames) == pytest.approx(100 * float(sum(flips) / 2))
    assert run(frames, of=1) == pytest.approx(100 * (0.1 / 4.1 + 0.1 / 4.2) / 2)


def test_frames_of_two_sequences_are_no_pair():
    one, other = [still(i) for i in range(3)], [still(i, 'b') for i in range(3)]
    both = run(one + other)
    assert both == pytest.approx((run(one) + run(other)) / 2)


@pytest.mark.parametrize('lacking', ['cam2world', 'cam2img', 'gt_depth'])
def test_a_frame_without_a_pose_is_in_no_pair(lacking):
    frames = [still(i) for i in range(5)]
    if lacking == 'gt_depth':
        del frames[2].gt_depth
    else:
        frames[2] = still(2, **{lacking: None})
    whole = [still(0), still(1)], [still(3), still(4)]
    assert run(frames) == pytest.approx(sum(map(run, whole)) / 2)


def test_no_pair_is_nan():
    assert math.isnan(run([still(0)])) and math.isnan(run([still(0, frame_index=None)] * 2))


def test_each_data_set_has_its_own():
    settings = {'steady': dict(type='depth_stability', task='depth'), 'depth': None}
    evaluator = MixedEvaluator(dict(depth=None), dict(one=None, other=None), settings)
    samples = [still(i, dataset='one') for i in (0, 1)] + [
        still(i, 'b', dataset='other') for i in (0, 2)
    ]
    assert evaluate(samples, evaluator) == pytest.approx(
        {'one/steady/change': 100 * 0.1 / 4.1, 'other/steady/change': 100 * 0.2 / 4.2}
    )


def test_frames_out_of_order_are_refused():
    with pytest.raises(ValueError, match='SequenceSampler'):
        run([still(i) for i in (0, 2, 1, 3)])


def test_a_prediction_that_is_missing_or_of_another_size_is_refused():
    frame = still(0)
    del frame.pred_semseg
    with pytest.raises(ValueError, match='pred_semseg'):
        run([frame])
    frame = still(0)
    frame.gt_depth = label_field(torch.ones(1, 3, 4))
    with pytest.raises(ValueError, match="size of the frame's file"):
        run([frame])


def runs(monkeypatch, samples, processes):
    """As SequenceSampler deals them."""
    for rank in range(processes):
        monkeypatch.setattr(sequence_samplers, 'get_dist_info', lambda rank=rank: (rank, processes))
        yield [samples[index] for index in sequence_samplers.SequenceSampler(samples)]


def distributed(monkeypatch, dealt, size, build):
    """The measure of one process of several, whose exchanges are played in two passes."""
    dealt = list(dealt)
    ends, sums = [], []
    for samples in dealt:  # what each sends of its ends
        metric = build()
        metric.process(None, [made.to_dict() for made in samples])
        monkeypatch.setattr(stability, 'all_gather_object', lambda own: ends.append(own) or [])
        monkeypatch.setattr(pooled, 'all_gather_object', lambda own: [own])
        metric.evaluate(size)
    for rank, samples in enumerate(dealt):
        metric = build()
        metric.process(None, [made.to_dict() for made in samples])
        monkeypatch.setattr(stability, 'all_gather_object', lambda own: ends)
        monkeypatch.setattr(stability, 'get_rank', lambda rank=rank: rank)
        monkeypatch.setattr(pooled, 'get_dist_info', lambda rank=rank: (rank, len(dealt)))
        monkeypatch.setattr(pooled, 'all_gather_object', lambda own: sums.append(own) or [own])
        metric.evaluate(size)
    return next(iter(build().compute_metrics(sums).values()))


@pytest.mark.parametrize('processes', [2, 3, 4, 9])
@pytest.mark.parametrize('kind', [0, 1])
def test_several_processes_give_the_numbers_of_one(monkeypatch, processes, kind):
    samples = [still(i) for i in range(4)] + [still(2 * i, 'b') for i in range(3)]
    one = run(samples, kind)
    dealt = runs(monkeypatch, samples, processes)
    assert distributed(monkeypatch, dealt, 7, lambda: metrics()[kind]) == pytest.approx(one)


def test_frames_dealt_in_turn_are_refused(monkeypatch):
    samples = [still(i) for i in range(6)]
    with pytest.raises(ValueError, match='0 and 1, in 2 processes.*SequenceSampler'):
        distributed(monkeypatch, [samples[::2], samples[1::2]], 6, lambda: metrics()[0])


def test_scoring_that_was_interrupted_goes_on():
    samples = [still(i) for i in range(4)]
    first, second = metrics()[0], metrics()[0]
    first.process(None, samples[:2])
    second.load_state(first.state())
    second.process(None, samples[2:])
    assert second.evaluate(4)['semseg/flips'] == run(samples)
