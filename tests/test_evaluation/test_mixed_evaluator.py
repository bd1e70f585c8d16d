"""MixedEvaluator: every data set by itself, whoever evaluated which frame."""

import math

import numpy as np
import pytest
import torch
from label_fields import label_field
from mmengine.evaluator import BaseMetric
from mmengine.structures import PixelData

from m2h_mm.evaluation import MixedEvaluator, MultiTaskEvaluator, mixed
from m2h_mm.registry import EVALUATOR
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Edge
from m2h_mm.tasks import pooled_metric as pooled
from m2h_mm.tasks.edge.metric import EdgeMetric

TASKS = dict(semseg=dict(num_classes=3), depth=None)
METRICS = dict(semseg=dict(per_class=False))
MEMBERS = dict(all=dict(), far=dict(tasks=['depth']))
CONFIG = dict(type='MixedEvaluator', tasks=TASKS, datasets=MEMBERS, metrics=METRICS)


def frames(near=4, far=3):
    """``near`` frames with two labels, ``far`` ones with depth alone, in one order as of a
    MixedDataset.
    """
    made = []
    for index in range(near + far):
        rng = np.random.default_rng(index)
        sample = MultiTaskDataSample(metainfo=dict(dataset='all' if index < near else 'far'))
        depth = torch.from_numpy(rng.uniform(1, 9, (1, 6, 8)))
        sample.gt_depth = label_field(depth)
        sample.pred_depth = PixelData(
            data=depth + torch.from_numpy(rng.normal(0, 0.1 + index, (1, 6, 8)))
        )
        sample.pred_semseg = PixelData(data=torch.from_numpy(rng.integers(0, 3, (1, 6, 8))))
        if index < near:
            sample.gt_semseg = label_field(torch.from_numpy(rng.integers(0, 3, (1, 6, 8))))
        made.append(sample)
    return made


def evaluate(evaluator, samples):
    for sample in samples:
        evaluator.process([sample])
    return evaluator.evaluate(len(samples))


def expected(samples):
    """Each data set's frames through a MultiTaskEvaluator of their own."""
    return {
        f'{name}/{key}': value
        for name, member in MEMBERS.items()
        for key, value in evaluate(
            MultiTaskEvaluator(member.get('tasks', TASKS)),
            [sample for sample in samples if sample.dataset == name],
        ).items()
    }


def test_each_data_set_has_its_own_metrics():
    evaluator, samples = EVALUATOR.build(CONFIG), frames()
    metrics = evaluate(evaluator, [samples[index] for index in (5, 0, 3, 6, 1, 4, 2)])
    assert metrics == pytest.approx(expected(samples), rel=1e-12)
    assert (
        metrics['all/depth/rmse'] != metrics['far/depth/rmse'] and 'far/semseg/mIoU' not in metrics
    )
    assert evaluate(evaluator, samples) == pytest.approx(metrics, rel=1e-12), (
        'it does not start afresh'
    )


@pytest.mark.parametrize('processes', [2, 3, 4])
@pytest.mark.parametrize('sizes', [(4, 3), (3, 4), (5, 1), (1, 1)])
def test_frames_that_the_sampler_repeats_do_not_count(monkeypatch, sizes, processes):
    samples = frames(*sizes)
    truth = expected(samples)
    ranks = [EVALUATOR.build(CONFIG) for _ in range(processes)]
    rounds = -(-len(samples) // processes)
    dealt = (samples * processes)[: rounds * processes]
    assert len(dealt) > len(samples) or len(samples) % processes == 0
    sent: dict[int, list] = {}
    for rank, evaluator in enumerate(ranks):
        monkeypatch.setattr(pooled, 'get_dist_info', lambda rank=rank: (rank, processes))
        calls = iter(range(100))

        def gather(own, calls=calls):  # The metrics come in one order in all processes.
            sent.setdefault(next(calls), []).append(own)
            return [own]

        monkeypatch.setattr(pooled, 'all_gather_object', gather)
        evaluator.process(dealt[rank::processes])
        evaluator.evaluate(len(samples))
    gathered = iter(sent.values())
    monkeypatch.setattr(pooled, 'all_gather_object', lambda own: next(gathered))
    assert EVALUATOR.build(CONFIG).evaluate(len(samples)) == pytest.approx(truth, rel=1e-12)


def test_gain_protocol_and_headlines_are_named_by_the_data_set():
    reference = {'semseg/mIoU': 30.0, 'depth/rmse': 2.0}
    members = dict(
        all=dict(tasks=['semseg', 'depth'], reference=reference),
        edges=dict(tasks=['edge'], metrics=dict(edge=dict(preset='mtl'))),
    )
    evaluator = MixedEvaluator(dict(TASKS, edge=None), members, METRICS)
    assert evaluator.headlines == {
        'all/semseg/mIoU': ('all/semseg', True),
        'all/depth/rmse': ('all/depth', False),
        'edges/edge/odsF': ('edges/edge', True),
    }
    assert evaluator.protocol() == {'edges/edge': EdgeMetric(Edge(), 'mtl').protocol}
    metrics = evaluate(evaluator, frames(near=3, far=0))
    assert metrics['all/delta_m'] == pytest.approx(
        (metrics['all/gain/semseg'] + metrics['all/gain/depth']) / 2
    )
    assert metrics['all/gain/depth'] == pytest.approx(100 * (2 - metrics['all/depth/rmse']) / 2)
    assert math.isnan(metrics['edges/edge/odsF']), 'a data set without frames'


def test_class_names_reach_all_metrics():
    evaluator = EVALUATOR.build(CONFIG)
    evaluator.dataset_meta = dict(classes=('a', 'b', 'c'))
    assert all(metric.dataset_meta['classes'] == ('a', 'b', 'c') for metric in evaluator.metrics)


class Count(BaseMetric):
    """A metric of a user."""

    default_prefix = 'count'

    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results):
        return dict(frames=len(results))


def test_other_metrics_count_in_one_process_only(monkeypatch):
    counted = dict(depth=None, count=Count())
    members = dict(all=dict(metrics=counted), far=dict(metrics=dict(counted, count=Count())))
    metrics = evaluate(MixedEvaluator(['depth'], members), frames())
    assert metrics == {'all/count/frames': 4, 'far/count/frames': 3}
    monkeypatch.setattr(mixed, 'get_world_size', lambda: 2)
    with pytest.raises(
        ValueError,
        match=r"evaluator\.datasets: \['Count'\].*one process.*PooledMetric",
    ):
        MixedEvaluator(['depth'], dict(all=dict(metrics=dict(count=Count()))))


@pytest.mark.parametrize(
    ('datasets', 'message'),
    [
        ({}, 'expected the names of the data sets'),
        (dict(all=dict(tasks=['edge'])), r"datasets\.all\.tasks: .*got \['edge'\]"),
        (dict(all=dict(reference={'depth/mae': 1.0})), "'depth/rmse'.*got None"),
    ],
)
def test_wrong_arguments_are_named(datasets, message):
    with pytest.raises(ValueError, match=message):
        MixedEvaluator(['depth'], datasets)


def test_a_frame_of_no_data_set_is_refused():
    plain = frames(near=1, far=0)[0]
    plain.set_metainfo(dict(dataset='rooms'))
    with pytest.raises(ValueError, match=r"metrics for \['all', 'far'\], and a frame of 'rooms'"):
        evaluate(EVALUATOR.build(CONFIG), [plain])
    del plain.dataset
    with pytest.raises(ValueError, match='a frame of None'):
        evaluate(EVALUATOR.build(CONFIG), [plain])
