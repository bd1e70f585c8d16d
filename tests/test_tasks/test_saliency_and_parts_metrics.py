"""The metrics of saliency and of human parts."""

import logging
import math

import numpy as np
import pytest
import torch
from label_fields import label_field, label_of
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from m2h_mm.registry import METRICS
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import HumanParts, Saliency, Semseg
from m2h_mm.tasks.human_parts.metric import HumanPartsMetric
from m2h_mm.tasks.saliency.measures import saliency_measures, saliency_statistics
from m2h_mm.tasks.saliency.metric import SaliencyMetric
from m2h_mm.tasks.semseg.metric import SemSegMetric

SIZE = (9, 11)
TASKS = dict(saliency=Saliency(), human_parts=HumanParts())
METRIC = dict(
    saliency=lambda: SaliencyMetric(Saliency()),
    human_parts=lambda: HumanPartsMetric(HumanParts(), per_class=False),
)
KEYS = dict(saliency=['maxF', 'meanF', 'mIoU'], human_parts=['mIoU', 'mAcc', 'aAcc'])
both_tasks = pytest.mark.parametrize('task', list(METRIC))


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def maps(task, size=SIZE):
    """A prediction and a label with a quarter of its pixels void."""
    void = torch.rand(1, *size) < 0.25
    if task == 'human_parts':
        label = torch.randint(7, (1, *size))
        pred = torch.where(torch.rand(1, *size) < 0.5, label, torch.randint(7, (1, *size)))
    else:
        label = (torch.rand(1, *size) > 0.7).long()
        pred = (0.6 * torch.rand(1, *size) + 0.4 * label).square()
    return pred, label.masked_fill(void, 255)


def frames(task, count=5):
    return [maps(task, (SIZE[0] + index, SIZE[1])) for index in range(count)]


def run(task, pairs, batch_size=2, metric=None):
    metric = metric or METRIC[task]()
    samples = []
    for pair in pairs:
        sample = MultiTaskDataSample()
        pred, label = pair
        sample.set_field(PixelData(data=pred), TASKS[task].pred_field)
        if label is not None:
            sample.set_field(label_field(label, 255), TASKS[task].gt_field)
        samples.append(sample.to_dict())
    for start in range(0, len(samples), batch_size):
        metric.process(None, samples[start : start + batch_size])
    return metric.evaluate(len(samples))


def same(one, other):
    assert one.keys() == other.keys()
    assert list(one.values()) == pytest.approx(list(other.values()), rel=1e-12, nan_ok=True)


def image(pred, label):
    return torch.tensor([[pred]]), torch.tensor([[label]])


# ---- both
@both_tasks
def test_contract(task):
    metric = METRIC[task]()
    assert METRICS.get(task) is type(metric)
    result = run(task, frames(task))
    assert list(result) == [f'{task}/{key}' for key in KEYS[task]]
    assert all(type(value) is float and 0 < value < 100 for value in result.values())
    assert TASKS[task].metric == KEYS[task][0] and f'{task}/{TASKS[task].metric}' in result
    pred, label = maps(task)
    assert all(
        value.ndim == 0 or value.numel() <= 255
        for value in metric.statistics(pred, label_of(label, 255)).values()
    )


@both_tasks
def test_batches_and_order_do_not_matter(task):
    pairs = frames(task)
    result = run(task, pairs)
    same(run(task, pairs, batch_size=5), result)
    same(run(task, pairs[::-1], batch_size=1), result)
    same(run(task, [pairs[index] for index in (3, 0, 4, 2, 1)]), result)
    same(run(task, pairs * 2), result)


@both_tasks
@pytest.mark.parametrize('axis', [1, 2])
def test_mirrored_frames_score_the_same(task, axis):
    pairs = frames(task)
    same(
        run(task, [(pred.flip(axis), label.flip(axis)) for pred, label in pairs]), run(task, pairs)
    )


@both_tasks
def test_void_pixels_do_not_matter(task):
    pairs = frames(task)
    others = [
        (torch.where(label == 255, maps(task, label.shape[1:])[0], pred), label)
        for pred, label in pairs
    ]
    assert not all(
        torch.equal(pred, other) for (pred, _), (other, _) in zip(pairs, others, strict=True)
    )
    same(run(task, others), run(task, pairs))


@both_tasks
def test_perfect_predictions_score_100(task):
    pairs = [(label.masked_fill(label == 255, 0), label) for _, label in frames(task)]
    if task == 'saliency':
        pairs = [(pred.float(), label) for pred, label in pairs]
    assert list(run(task, pairs).values()) == [100] * 3


@both_tasks
def test_perfectly_wrong_predictions_score_0(task):
    pairs = [(label.masked_fill(label == 255, 0), label) for _, label in frames(task)]
    wrong = {'saliency': lambda pred: 1.0 - pred, 'human_parts': lambda pred: (pred + 1) % 7}[task]
    assert list(run(task, [(wrong(pred), label) for pred, label in pairs]).values()) == [0] * 3


@both_tasks
def test_frames_without_a_label_are_skipped(task):
    pairs = frames(task)
    nothing = maps(task)[0], torch.full((1, *SIZE), 255)
    result = run(task, pairs)
    same(run(task, [(maps(task)[0], None), *pairs, nothing]), result)
    same(run(task, [nothing, *pairs[:2], nothing, *pairs[2:]]), result)


@both_tasks
@pytest.mark.parametrize('what', ['void', 'no label', 'no frame'])
def test_nothing_valid_is_nan_with_a_warning(task, what, monkeypatch):
    said = []
    monkeypatch.setattr(
        'm2h_mm.tasks.pooled_metric.print_log',
        lambda message, logger, level: said.append((message, level)),
    )
    pred = maps(task)[0]
    pairs = dict(
        void=[(pred, torch.full_like(pred, 255))], **{'no label': [(pred, None)], 'no frame': []}
    )[what]
    result = run(task, pairs)
    assert list(result) == [f'{task}/{key}' for key in KEYS[task]] and all(
        map(math.isnan, result.values())
    )
    ((message, level),) = said
    assert f'no valid pixel of {TASKS[task].gt_field}' in message and level == logging.WARNING


@both_tasks
def test_through_the_evaluator_and_afresh(task):
    evaluator = Evaluator([METRIC[task]()])
    pairs = frames(task)
    results = []
    for _ in range(2):
        for pred, label in pairs:
            sample = MultiTaskDataSample()
            sample.set_field(PixelData(data=pred), TASKS[task].pred_field)
            sample.set_field(label_field(label, 255), TASKS[task].gt_field)
            evaluator.process([sample])
        results.append(evaluator.evaluate(len(pairs)))
    same(results[0], results[1])
    same(results[0], run(task, pairs))


@both_tasks
def test_several_processes_equal_one(task, monkeypatch):
    pairs, sent = frames(task, 5), []
    result = run(task, pairs)
    padded = [*pairs, pairs[0]]
    module = 'm2h_mm.tasks.pooled_metric'
    for rank in range(2):
        monkeypatch.setattr(f'{module}.get_dist_info', lambda rank=rank: (rank, 2))
        monkeypatch.setattr(f'{module}.all_gather_object', lambda own: sent.append(own) or [own])
        metric = METRIC[task]()
        for pred, label in padded[rank::2]:
            fields = {f'pred_{task}': dict(data=pred), f'gt_{task}': label_field(label, 255)}
            metric.process(None, [fields])
        metric.evaluate(5)
    monkeypatch.setattr(f'{module}.all_gather_object', lambda own: sent)
    same(METRIC[task]().evaluate(5), result)


# ---- saliency
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


# ---- human parts
def slow_miou(pairs):
    ious = []
    for index in range(7):
        both = either = 0
        for pred, label in pairs:
            valid = label != 255
            if not ((label > 0) & valid).any():
                continue
            both += int(((pred == index) & (label == index) & valid).sum())
            either += int((((pred == index) | (label == index)) & valid).sum())
        if either:
            ious.append(both / either)
    return 100 * sum(ious) / len(ious)


@pytest.mark.parametrize('empty', [[0, 0, 0], [0, 255, 255], [255, 255, 255]])
def test_frames_without_people_count_in_no_metric(empty):
    pairs = frames('human_parts')
    result = run('human_parts', pairs)
    assert result['human_parts/mIoU'] == pytest.approx(slow_miou(pairs), rel=1e-12)
    for prediction in ([0, 0, 0], [1, 2, 6]):
        nobody = image(prediction, empty)
        same(run('human_parts', [nobody, *pairs, nobody]), result)
        assert all(map(math.isnan, run('human_parts', [nobody]).values()))


def test_background_counts_where_somebody_is():
    right, wrong = (
        run('human_parts', [image(pred, [0, 0, 0, 1])]) for pred in ([0, 0, 0, 1], [2, 2, 0, 1])
    )
    assert right['human_parts/mIoU'] == 100
    assert wrong['human_parts/mIoU'] == pytest.approx(100 * (1 / 3 + 1 + 0) / 3)


def test_a_constant_prediction_of_background():
    result = run('human_parts', [image([0] * 4, [0, 0, 3, 255])])
    assert result['human_parts/mIoU'] == pytest.approx(100 * (2 / 3) / 2)


def test_where_everybody_is_seen_it_is_the_metric_of_semseg():
    pairs, semseg = frames('human_parts'), SemSegMetric(Semseg(7), per_class=False)
    for pred, label in pairs:
        fields = dict(pred_semseg=dict(data=pred), gt_semseg=label_field(label, 255))
        semseg.process(None, [fields])
    expected = {
        name.replace('semseg', 'human_parts'): value
        for name, value in semseg.evaluate(len(pairs)).items()
    }
    same(run('human_parts', pairs), expected)


def test_the_table_names_the_parts_not_the_data_sets_classes(monkeypatch):
    said = []
    monkeypatch.setattr('m2h_mm.tasks.semseg.metric.print_log', lambda text, **_: said.append(text))
    metric = HumanPartsMetric(HumanParts())
    metric.dataset_meta = dict(classes=[f'thing {index}' for index in range(7)])
    run('human_parts', frames('human_parts'), metric=metric)
    rows = said[0].splitlines()
    assert len(rows) == 2 + 7 and 'thing' not in said[0]
    assert [row.split('  ')[0] for row in rows[2:]] == list(HumanParts().classes)


def test_another_number_of_parts():
    metric = HumanPartsMetric(HumanParts(3), per_class=True)
    assert (
        run('human_parts', [image([0, 1, 2], [0, 1, 2])], metric=metric)['human_parts/mIoU'] == 100
    )
    with pytest.raises(ValueError, match='num_classes'):
        run('human_parts', [image([3], [1])], metric=HumanPartsMetric(HumanParts(3)))
    with pytest.raises(ValueError, match="expected 'exclude' or 'zero'"):
        HumanPartsMetric(HumanParts(), absent='none')
