"""MultiTaskEvaluator: all metrics in one table, and the gain over single-task models."""

import json
import math

import pytest
import torch
from label_fields import label_field
from mmengine.evaluator import BaseMetric
from mmengine.structures import PixelData

from m2h_mm.evaluation import MultiTaskEvaluator
from m2h_mm.registry import EVALUATOR
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Depth, Edge, Task
from m2h_mm.tasks.depth.metric import DepthMetric
from m2h_mm.tasks.edge.metric import EdgeMetric
from m2h_mm.tasks.error_metric import ErrorMetric
from m2h_mm.tasks.semseg.metric import SemSegMetric

TASKS = dict(semseg=dict(num_classes=4), depth=None)
METRICS = dict(semseg=dict(per_class=False))
REFERENCE = {'semseg/mIoU': 50.0, 'depth/rmse': 0.5}


class Brightness(Task):
    """A task of a user, without a metric of its own."""

    name = 'brightness'

    def read(self, path):
        raise AssertionError('the samples here come from no files')


def sample(depth_error, with_depth=True):
    """Three of four pixels have the right class; depth is off by ``depth_error`` everywhere."""
    made = MultiTaskDataSample()
    made.set_field(label_field(torch.tensor([[[0, 0], [1, 1]]])), 'gt_semseg')
    made.set_field(PixelData(data=torch.tensor([[[0, 0], [1, 0]]])), 'pred_semseg')
    if with_depth:
        made.set_field(label_field(torch.full((1, 2, 2), 2.0)), 'gt_depth')
    made.set_field(PixelData(data=torch.full((1, 2, 2), 2.0 + depth_error)), 'pred_depth')
    return made


def evaluate(evaluator, samples):
    evaluator.process(samples)
    return evaluator.evaluate(len(samples))


def test_metrics_are_merged_and_the_gain_added():
    evaluator = EVALUATOR.build(
        dict(type='MultiTaskEvaluator', tasks=TASKS, metrics=METRICS, reference=REFERENCE)
    )
    metrics = evaluate(evaluator, [sample(0.4)])
    miou = 100 * (2 / 3 + 1 / 2) / 2
    assert metrics['semseg/mIoU'] == pytest.approx(miou)
    assert metrics['gain/semseg'] == pytest.approx(100 * (miou - 50) / 50)
    assert metrics['gain/depth'] == pytest.approx(100 * (0.5 - 0.4) / 0.5, rel=1e-5)
    assert metrics['delta_m'] == pytest.approx((metrics['gain/semseg'] + metrics['gain/depth']) / 2)
    assert not any('loss' in name for name in metrics)
    assert evaluate(evaluator, [sample(0.4)]) == metrics, 'it does not start afresh'


def test_without_a_reference_there_is_no_gain():
    metrics = evaluate(MultiTaskEvaluator(TASKS, METRICS), [sample(0.4)])
    assert {name.split('/')[0] for name in metrics} == {'semseg', 'depth'}


def test_every_task_has_the_metric_of_its_kind_or_its_mean_error():
    tasks = dict(TASKS, far=dict(type='depth'), brightness=Brightness())
    evaluator = MultiTaskEvaluator(tasks)
    assert [(metric.prefix, type(metric)) for metric in evaluator.metrics] == [
        ('semseg', SemSegMetric),
        ('depth', DepthMetric),
        ('far', DepthMetric),
        ('brightness', ErrorMetric),
    ]
    assert all(metric.task is evaluator.tasks[metric.prefix] for metric in evaluator.metrics)
    assert list(evaluator.headlines.values()) == [
        ('semseg', True),
        ('depth', False),
        ('far', False),
        ('brightness', False),
    ]


def test_a_metric_is_given_arguments_or_left_out():
    metrics = dict(depth=dict(max_depth=3.0), semseg=None)
    (depth,) = MultiTaskEvaluator(TASKS, metrics).metrics
    assert isinstance(depth, DepthMetric) and depth.max_depth == 3
    built = DepthMetric(Depth(), max_depth=5)
    assert MultiTaskEvaluator(TASKS, dict(depth=built)).metrics[1] is built


def test_further_metrics_of_a_task_are_named_by_their_key():
    near = dict(type='depth', task='depth', max_depth=1.0)
    evaluator = MultiTaskEvaluator(TASKS, dict(METRICS, depth_near=near, gone=None), REFERENCE)
    metrics = evaluate(evaluator, [sample(0.4)])
    assert metrics['depth/rmse'] == pytest.approx(0.4) and math.isnan(metrics['depth_near/rmse'])
    assert list(evaluator.headlines) == ['semseg/mIoU', 'depth/rmse'], 'a task counts once'


@pytest.mark.parametrize(
    ('metrics', 'message'),
    [
        (dict(dept=dict(max_depth=3.0)), r"evaluator\.metrics\.dept: .*Did you mean 'depth'"),
        (dict(near=dict(type='depth', task='dept')), r"metrics\.near\.task: .*got 'dept'"),
    ],
)
def test_metrics_of_unknown_tasks_are_refused(metrics, message):
    with pytest.raises(ValueError, match=message):
        MultiTaskEvaluator(TASKS, metrics)


def test_the_reference_may_be_files_as_test_writes_them(tmp_path):
    (tmp_path / 'semseg.json').write_text(
        json.dumps(dict(metrics={'semseg/mIoU': 50.0, 'semseg/aAcc': 1}, config='x'))
    )
    (tmp_path / 'depth.json').write_text(json.dumps({'depth/rmse': 0.5}))
    files = [str(tmp_path / 'semseg.json'), str(tmp_path / 'depth.json')]
    assert MultiTaskEvaluator(TASKS, METRICS, files).reference == REFERENCE
    assert MultiTaskEvaluator(['depth'], reference=files[1]).reference == {'depth/rmse': 0.5}


def test_a_task_without_labels_makes_the_gain_nan():
    metrics = evaluate(
        MultiTaskEvaluator(TASKS, METRICS, REFERENCE), [sample(0.4, with_depth=False)]
    )
    assert math.isnan(metrics['gain/depth']) and math.isnan(metrics['delta_m'])
    assert metrics['gain/semseg'] > 0


@pytest.mark.parametrize(
    'reference, message',
    [
        ({'semseg/mIoU': 50}, r"'depth/rmse'.*got None.*\['semseg/mIoU'\]"),
        ({**REFERENCE, 'depth/rmse': 0}, 'got 0'),
        ({**REFERENCE, 'depth/rmse': math.nan}, 'got nan'),
        ({**REFERENCE, 'depth/rmse': 'good'}, "got 'good'"),
        ({**REFERENCE, 'depth/rmse': None}, 'got None'),
        ({**REFERENCE, 'depth/rmse': True}, 'got True'),
        ({**REFERENCE, 'depth/rmse': -0.5}, 'above 0 for .*got -0.5'),
        ({**REFERENCE, 'depth/rmse': math.inf}, 'got inf'),
        ({**REFERENCE, 'semseg/mIoU': 101}, 'above 0 to 100 for .*got 101'),
        ([], "evaluator.reference: expected .*'semseg/mIoU'"),
    ],
)
def test_a_reference_that_lacks_a_task_is_refused_when_built(reference, message):
    with pytest.raises(ValueError, match=message):
        MultiTaskEvaluator(TASKS, METRICS, reference)


def test_a_reference_in_fractions_is_questioned(monkeypatch):
    said = []
    monkeypatch.setattr(
        'm2h_mm.evaluation.evaluator.print_log', lambda text, *rest: said.append(text)
    )
    MultiTaskEvaluator(TASKS, METRICS, REFERENCE)
    assert not said
    MultiTaskEvaluator(TASKS, METRICS, {**REFERENCE, 'semseg/mIoU': 0.43})
    assert len(said) == 1 and 'is 43 meant?' in said[0]


def test_bad_reference_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='missing.json'):
        MultiTaskEvaluator(TASKS, METRICS, str(tmp_path / 'missing.json'))
    for content in ('{"metrics"', '[1, 2]'):
        (tmp_path / 'broken.json').write_text(content)
        with pytest.raises(ValueError, match='broken.json'):
            MultiTaskEvaluator(TASKS, METRICS, str(tmp_path / 'broken.json'))
    for name, value in (('one', 0.5), ('two', 0.6)):
        (tmp_path / f'{name}.json').write_text(json.dumps({**REFERENCE, 'depth/rmse': value}))
    with pytest.raises(ValueError, match=r'one\.json says depth/rmse is 0\.5.*two\.json says 0\.6'):
        MultiTaskEvaluator(TASKS, METRICS, [str(tmp_path / 'one.json'), str(tmp_path / 'two.json')])


def test_files_may_disagree_on_what_is_not_needed(tmp_path):
    for name, value in (('one', 1.0), ('two', 2.0)):
        (tmp_path / f'{name}.json').write_text(
            json.dumps({**REFERENCE, 'delta_m': value, 'edge/odsF': None})
        )
    files = [str(tmp_path / f'{name}.json') for name in ('one', 'two')]
    assert MultiTaskEvaluator(TASKS, METRICS, files).reference == REFERENCE


class Outliers(DepthMetric):
    """Another measure of depth, without the headline one."""

    def summarise(self, statistics):
        return dict(outliers=100 - 100 * super().summarise(statistics)['delta3'])


def test_a_task_counts_once():
    several = dict(
        METRICS,
        depth=Outliers(Depth(), prefix='depth_outliers'),
        plain=DepthMetric(Depth()),
        near=DepthMetric(Depth(), max_depth=10, prefix='depth_near'),
        outliers=Outliers(Depth()),
    )
    evaluator = MultiTaskEvaluator(TASKS, several, REFERENCE)
    assert list(evaluator.headlines) == ['semseg/mIoU', 'depth/rmse']
    metrics = evaluate(evaluator, [sample(0.4)])
    assert {'depth_outliers/outliers', 'depth_near/rmse', 'depth/outliers'} <= metrics.keys()
    plain = evaluate(MultiTaskEvaluator(TASKS, METRICS, REFERENCE), [sample(0.4)])
    assert metrics['delta_m'] == plain['delta_m']


def test_two_metrics_of_one_key_are_refused_when_built():
    again = dict(type='depth', task='depth', prefix='depth', max_depth=10.0)
    with pytest.raises(
        ValueError, match=r"DepthMetric and DepthMetric .*'depth/abs_rel'.*another prefix"
    ):
        MultiTaskEvaluator(TASKS, dict(again=again))
    MultiTaskEvaluator(TASKS, dict(more=Outliers(Depth()), again=dict(again, prefix='near')))


class Count(BaseMetric):
    """A metric of a user, of no task."""

    default_prefix = 'count'

    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results):
        return dict(frames=len(results))


def test_other_metrics_are_merged_without_a_gain():
    evaluator = MultiTaskEvaluator(['depth'], dict(count=Count()), REFERENCE)
    assert evaluate(evaluator, [sample(0.4), sample(0.4)])['count/frames'] == 2
    with pytest.raises(ValueError, match='Count.*no gain'):
        MultiTaskEvaluator(['depth'], dict(depth=None, count=Count()), REFERENCE)


def test_the_protocols_are_collected():
    evaluator = MultiTaskEvaluator(['depth', 'edge'], dict(edge=dict(preset='mtl')))
    assert evaluator.protocol() == dict(edge=EdgeMetric(Edge(), 'mtl').protocol)
