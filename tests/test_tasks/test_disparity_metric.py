"""The disparity metric."""

import math

import numpy as np
import pytest
import torch
from label_fields import label_field
from mmengine.structures import PixelData

from m2h_mm.evaluation import MultiTaskEvaluator
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Disparity
from m2h_mm.tasks.disparity.metric import DisparityMetric

RNG = np.random.default_rng(0)


def sample(pred, label=None):
    made = MultiTaskDataSample(pred_disparity=PixelData(data=torch.as_tensor(pred)))
    if label is not None:
        made.set_field(label_field(torch.as_tensor(label), 0), 'gt_disparity')
    return made.to_dict()


def frames():
    labels = RNG.uniform(-20, 128, (3, 1, 5, 7)).clip(0).astype(np.float32)
    labels[2, 0, 0, 0] = 80
    return [(RNG.uniform(0, 128, (1, 5, 7)).astype(np.float32), label) for label in labels]


@pytest.mark.parametrize('largest', [math.inf, 80.0])
def test_pooled_over_the_pixels_that_count(largest):
    metric, data = DisparityMetric(Disparity(), largest), frames()
    for pred, label in data:
        metric.process(None, [sample(pred, label)])
    metric.process(None, [sample(data[0][0])])
    pairs = [
        (float(p), float(g))
        for pred, label in data
        for p, g in zip(pred.ravel(), label.ravel(), strict=True)
        if 0 < g < largest
    ]
    assert 10 < len(pairs) < 3 * 35
    assert metric.evaluate(4) == pytest.approx(
        {
            'disparity/rmse': math.sqrt(sum((p - g) ** 2 for p, g in pairs) / len(pairs)),
            'disparity/abs_err': sum(abs(p - g) for p, g in pairs) / len(pairs),
            'disparity/rel_err': sum(abs(p - g) / g for p, g in pairs) / len(pairs),
        },
        rel=1e-9,
    )


@pytest.mark.parametrize(
    ('unit', 'factor'), [(lambda p: (p - 1) / (256 * 4), 1 / 4), (lambda p: p / 65535, 256 / 65535)]
)
def test_the_published_units_differ_by_the_documented_factors(unit, factor):
    truth, pred = RNG.integers(300, 20000, (2, 1, 5, 7))
    metric = DisparityMetric(Disparity())
    metric.process(None, [sample((pred - 1) / 256, (truth - 1) / 256)])
    measures = metric.evaluate(1)
    error = np.abs(unit(pred) - unit(truth))
    assert factor * measures['disparity/abs_err'] == pytest.approx(error.mean(), rel=1e-9)
    assert factor * measures['disparity/rmse'] == pytest.approx(
        np.sqrt((error**2).mean()), rel=1e-9
    )


def test_nothing_measured_is_nan():
    metric = DisparityMetric(Disparity())
    metric.process(None, [sample(np.ones((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32))])
    assert all(math.isnan(value) for value in metric.evaluate(1).values())


def test_it_is_no_depth_metric():
    evaluator = MultiTaskEvaluator(['depth', 'disparity'])
    assert evaluator.headlines == {
        'depth/rmse': ('depth', False),
        'disparity/rmse': ('disparity', False),
    }
    with pytest.raises(ValueError, match='max_disparity: expected pixels above 0, got 0'):
        DisparityMetric(Disparity(), 0)
