"""``save_best`` takes any metric of ours by its name alone."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from m2h_mm.evaluation.metrics import (
    DepthMetric,
    EdgeMetric,
    HumanPartsMetric,
    NormalsMetric,
    PooledMetric,
    SaliencyMetric,
    SemSegMetric,
)
from m2h_mm.evaluation.metrics.depth import MEASURES
from m2h_mm.registry import METRICS

RUNTIME = Path(__file__).parents[2] / 'configs' / '_base_' / 'default_runtime.py'
BUILT = [SemSegMetric(3, per_class=False), DepthMetric(image_mean=MEASURES), NormalsMetric(), EdgeMetric(),
         SaliencyMetric(), HumanPartsMetric(per_class=False)]
LESS = {'rmse', 'rmse_log', 'abs_rel', 'sq_rel', 'silog', 'log10', 'mean', 'median'}


def rule_of(key):
    settings = dict(Config.fromfile(RUNTIME).default_hooks.checkpoint)
    assert settings.pop('type') == 'CheckpointHook'
    return CheckpointHook(**{**settings, 'save_best': key}).rules


def keys():
    for metric in BUILT:
        nothing = torch.zeros(metric.task.label_channels, 0, 0)
        for name in metric.summarise(metric.statistics(nothing, nothing)):
            yield f'{metric.prefix}/{name}', 'less' if name.removesuffix('_image_mean') in LESS else 'greater'


def test_every_metric_is_here():
    METRICS.import_from_location()
    registered = {cls for cls in METRICS.module_dict.values() if issubclass(cls, PooledMetric)}
    assert {type(metric) for metric in BUILT} >= {cls for cls in registered if cls.__module__.startswith('m2h_mm.')}


@pytest.mark.parametrize('key, rule', [*keys(), ('delta_m', 'greater'), ('gain/depth', 'greater')])
def test_the_rule_of_every_measure_is_known(key, rule):
    assert rule_of(key) == [rule]


@pytest.mark.parametrize('metric', BUILT, ids=lambda metric: metric.prefix)
def test_the_rule_agrees_with_the_task(metric):
    assert rule_of(f'{metric.prefix}/{metric.task.metric}') == ['greater' if metric.task.higher_is_better else 'less']
