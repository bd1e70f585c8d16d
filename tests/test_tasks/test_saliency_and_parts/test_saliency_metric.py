"""The metric of saliency."""

import math

import numpy as np
import pytest
import torch

from m2h_mm.tasks import Saliency
from m2h_mm.tasks.saliency.measures import saliency_measures, saliency_statistics
from m2h_mm.tasks.saliency.metric import SaliencyMetric

from .conftest import frames, image, run, same


def slow_saliency(pairs, beta_squared=0.3):
    """All thresholds and images one by one, from the words of the docstring."""
    curves = []
    for threshold in range(1, 256):
        scores = []
        for pred, label in pairs:
            valid = label.numpy() != 255
            predicted = np.rint(pred.numpy().astype(np.float64) * 255)[valid] >= threshold
            truth = label.numpy()[valid] == 1
            if not valid.any():
                continue
            if not truth.any():
                scores.append([float(not predicted.any())] * 3)
                continue
            hits = (predicted & truth).sum()
            precision = hits / predicted.sum() if predicted.any() else 0.0
            scores.append([precision, hits / truth.sum(), hits / (predicted | truth).sum()])
        precision, recall, iou = np.mean(scores, axis=0)
        below = beta_squared * precision + recall
        curves.append([(1 + beta_squared) * precision * recall / below if below else 0.0, iou])
    f, iou = np.array(curves).T
    return {
        'saliency/maxF': 100 * f.max(),
        'saliency/meanF': 100 * f.mean(),
        'saliency/mIoU': 100 * iou.max(),
    }


@pytest.mark.parametrize('beta_squared', [0.3, 1.0])
def test_saliency_equals_a_slow_recomputation(beta_squared):
    pairs = frames('saliency', 8)
    pairs[2] = pairs[2][0], pairs[2][1].masked_fill(pairs[2][1] == 1, 0)  # nothing salient
    pairs[4] = pairs[4][0] / 4, pairs[4][1]  # nothing predicted at most thresholds
    pairs[5] = pairs[5][0], torch.full_like(pairs[5][1], 255)
    pairs[6] = pairs[6][0], pairs[6][1].clamp(max=1)  # salient almost throughout, no void
    same(
        run('saliency', pairs, metric=SaliencyMetric(Saliency(), beta_squared)),
        slow_saliency(pairs, beta_squared),
    )


def test_averages_are_over_the_images_not_the_pixels():
    small, large = image([1.0, 1.0], [1, 0]), image([1.0] * 4 + [0.0] * 4, [1] * 8)
    result = run('saliency', [small, large])
    precision, recall = (0.5 + 1) / 2, (1 + 0.5) / 2
    assert result['saliency/maxF'] == pytest.approx(
        100 * 1.3 * precision * recall / (0.3 * precision + recall)
    )
    assert result['saliency/mIoU'] == pytest.approx(50)
    one = run(
        'saliency', [tuple(torch.cat(maps, dim=2) for maps in zip(small, large, strict=True))]
    )
    assert one['saliency/mIoU'] == pytest.approx(100 * 5 / 10)
    assert one['saliency/maxF'] == pytest.approx(
        100 * 1.3 * (5 / 6) * (5 / 9) / (0.3 * 5 / 6 + 5 / 9)
    )


def test_one_threshold_serves_the_whole_set():
    """Each image is perfect at a threshold of its own, but at none are both."""
    low, high = image([0.0, 0.2], [0, 1]), image([0.6, 0.8], [0, 1])
    assert all(run('saliency', [pair])['saliency/maxF'] == 100 for pair in (low, high))
    both = run('saliency', [low, high])
    precision = (1 + 0.5) / 2
    assert both['saliency/maxF'] == pytest.approx(100 * 1.3 * precision / (0.3 * precision + 1))
    assert both['saliency/mIoU'] == pytest.approx(75)


@pytest.mark.parametrize(
    ('value', 'threshold'),
    [
        (0.0, 0),
        (0.4 / 255, 0),
        (0.6 / 255, 1),
        (51 / 255, 51),
        (0.5, 128),
        (1.0, 255),
        (math.nan, 0),
        (1.7, 255),
        (-0.2, 0),
    ],
)
def test_a_pixel_is_salient_up_to_its_rounded_value(value, threshold):
    pred, label = image([value], [1])
    recall = saliency_statistics(pred, label, label != 255)['recall']
    assert recall.tolist() == [1.0] * threshold + [0.0] * (255 - threshold)


@pytest.mark.parametrize('constant', [0.3, 1.0])
def test_a_constant_prediction_scores_the_share_of_salient_pixels(constant):
    pred, label = image([constant] * 5, [1, 0, 0, 0, 0])
    result = run('saliency', [(pred, label)])
    assert result['saliency/maxF'] == pytest.approx(100 * 1.3 * 0.2 / (0.3 * 0.2 + 1))
    assert result['saliency/mIoU'] == pytest.approx(20)
    assert result['saliency/meanF'] == pytest.approx(
        result['saliency/maxF'] * round(constant * 255) / 255
    )


def test_predicting_nothing_scores_0():
    assert set(run('saliency', [image([0.0] * 3, [1, 0, 0])]).values()) == {0.0}


def test_finding_nothing_where_there_is_nothing_is_right():
    assert set(run('saliency', [image([0.0] * 3, [0, 0, 255])]).values()) == {100.0}
    assert set(run('saliency', [image([1.0, 0.0, 0.0], [0, 0, 255])]).values()) == {0.0}
    result = run('saliency', [image([1.0, 0.0], [1, 0]), image([0.5, 0.0], [0, 0])])
    assert result['saliency/maxF'] == 100 and result['saliency/meanF'] < 100


def test_scores_do_not_depend_on_a_monotone_change_of_the_levels():
    levels = torch.randint(0, 128, (1, 40, 50))
    label = (torch.rand(1, 40, 50) < levels / 127).long()
    one, other = (run('saliency', [(pred / 255, label)]) for pred in (levels, 2 * levels))
    assert one['saliency/maxF'] == pytest.approx(other['saliency/maxF'], rel=1e-12)
    assert one['saliency/mIoU'] == pytest.approx(other['saliency/mIoU'], rel=1e-12)
    assert one['saliency/meanF'] < other['saliency/meanF']


def test_a_map_and_its_file_score_the_same(tmp_path):
    pairs, stored = frames('saliency'), []
    for pred, label in pairs:
        Saliency().write_prediction(pred[0].numpy(), tmp_path / 'p.png')
        stored.append(
            (torch.from_numpy(Saliency().read_prediction(tmp_path / 'p.png'))[None], label)
        )
    assert not torch.equal(stored[0][0], pairs[0][0])
    same(run('saliency', stored), run('saliency', pairs))


def test_label_types_and_half_predictions():
    pairs = frames('saliency')
    result = run('saliency', pairs)
    for dtype in (torch.uint8, torch.float32):
        same(run('saliency', [(pred, label.to(dtype)) for pred, label in pairs]), result)
    half = run('saliency', [(pred.half(), label) for pred, label in pairs])
    assert list(half.values()) == pytest.approx(list(result.values()), abs=1)


def test_saliency_statistics_add_up():
    pairs = frames('saliency', 2)
    parts = [saliency_statistics(pred, label, label != 255) for pred, label in pairs]
    total = {name: parts[0][name] + parts[1][name] for name in parts[0]}
    assert total['images'] == 2 and total['pixels'] == sum(
        (label != 255).sum() for _, label in pairs
    )
    expected = slow_saliency(pairs)
    assert 100 * float(saliency_measures(total)['max_f']) == pytest.approx(
        expected['saliency/maxF'], rel=1e-12
    )


@pytest.mark.parametrize('value', [0, -0.3, math.nan])
def test_beta_is_checked(value):
    with pytest.raises(ValueError, match='SaliencyMetric.beta_squared: expected a number above 0'):
        SaliencyMetric(Saliency(), beta_squared=value)
