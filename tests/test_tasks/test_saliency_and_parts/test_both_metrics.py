"""What the metrics of saliency and of human parts have in common."""

import logging
import math

import pytest
import torch
from label_fields import label_field, label_of
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from m2h_mm.registry import METRICS
from m2h_mm.structures import MultiTaskDataSample

from .conftest import KEYS, METRIC, SIZE, TASKS, frames, maps, run, same

both_tasks = pytest.mark.parametrize('task', list(METRIC))


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
