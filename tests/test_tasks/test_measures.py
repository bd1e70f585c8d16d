"""Measures against the reference values and by hand."""

import json

import numpy as np
import pytest
import torch

from m2h_mm.evaluation.gain import multi_task_gain, task_gains
from m2h_mm.tasks.depth.measures import depth_measures, depth_statistics
from m2h_mm.tasks.normals.measures import angular_error, normals_measures, normals_statistics
from m2h_mm.tasks.semseg.measures import confusion_matrix, segmentation_measures

DEPTH = ('rmse', 'rmse_log', 'abs_rel', 'sq_rel', 'silog', 'log10', 'delta1', 'delta2', 'delta3')


@pytest.fixture(scope='module')
def arrays(reference):
    with np.load(reference / 'metrics' / 'depth_normals_seg.npz', allow_pickle=False) as data:
        return {name: torch.from_numpy(data[name]) for name in data.files}


def close(value, expected, rel=1e-12):
    assert float(value) == pytest.approx(float(expected), rel=rel, nan_ok=True)


def test_depth_pooled(arrays):
    target = arrays['depth_gt']
    measures = depth_measures(depth_statistics(arrays['depth_pred'], target, target > 0))
    assert tuple(measures) == DEPTH
    for name, value in measures.items():
        close(value, arrays[f'depth_pooled_{name}'])


def test_depth_per_image(arrays):
    for index, (pred, target) in enumerate(
        zip(arrays['depth_pred'], arrays['depth_gt'], strict=True)
    ):
        for name, value in depth_measures(depth_statistics(pred, target, target > 0)).items():
            close(value, arrays[f'depth_per_image_{name}'][index])


def test_depth_statistics_add_up(arrays):
    target = arrays['depth_gt']
    whole = depth_statistics(arrays['depth_pred'], target, target > 0)
    parts = [
        depth_statistics(p, g, g > 0) for p, g in zip(arrays['depth_pred'], target, strict=True)
    ]
    for name, value in whole.items():
        close(sum(part[name] for part in parts), value)


def test_depth_non_positive_prediction_counts_as_tiny():
    measures = depth_measures(
        depth_statistics(torch.tensor([-3.0, 0.0]), torch.ones(2), torch.ones(2).bool())
    )
    close(measures['rmse'], 1, rel=1e-6)
    close(measures['log10'], 9)


def test_normals_pooled(arrays):
    pred, target = (arrays[f'normals_{what}'].movedim(-1, 1) for what in ('pred', 'gt'))
    valid = (target != 0).any(dim=1)
    measures = normals_measures(normals_statistics(pred, target, valid))
    assert len(measures) == 6
    for name, value in measures.items():
        if name == 'median':
            assert float(value) == pytest.approx(float(arrays['normals_median']), abs=1e-4)
        else:
            close(value, arrays[f'normals_{name}'])
    error = angular_error(pred, target).masked_fill(~valid, float('nan'))
    torch.testing.assert_close(
        error, arrays['normals_error_deg'], rtol=0, atol=1e-12, equal_nan=True
    )


def degrees(*angles):
    angles = torch.deg2rad(torch.tensor(angles, dtype=torch.float64))
    pred = torch.stack((angles.sin(), torch.zeros_like(angles), angles.cos()))[:, None]
    return pred, torch.tensor([0.0, 0, 1]).view(3, 1, 1).expand(3, 1, len(angles))


@pytest.mark.parametrize(
    'angles', [(10,), (10, 20), (1e-3, 5, 7.7), (0, 0, 0, 180), (3.3, 179.9, 90, 12.34567)]
)
def test_median_is_exact_to_half_a_bin(angles):
    pred, target = degrees(*angles)
    measures = normals_measures(normals_statistics(pred, target, torch.ones(1, len(angles)).bool()))
    assert float(measures['median']) == pytest.approx(np.median(angles), abs=1.0001e-4)


def test_angular_error_is_accurate_and_ignores_length():
    pred, target = degrees(0, 1e-7, 180)
    assert angular_error(3 * pred, 0.2 * target)[0].tolist() == pytest.approx(
        [0, 1e-7, 180], rel=1e-6, abs=1e-15
    )
    assert angular_error(torch.zeros(3, 1, 1), torch.ones(3, 1, 1)).item() == pytest.approx(90)


@pytest.mark.parametrize('case', ['seg_', 'seg_absent_'])
def test_segmentation(arrays, case):
    pred, target = arrays[f'{case}pred'], arrays[f'{case}gt']
    confusion = confusion_matrix(pred, target, target != 255, 5)
    assert torch.equal(confusion, arrays[f'{case}confusion'])
    measures = segmentation_measures(confusion)
    for name in ('iou', 'class_acc'):
        torch.testing.assert_close(
            measures[name], arrays[f'{case}{name}'], rtol=1e-12, atol=0, equal_nan=True
        )
    close(measures['pixel_acc'], arrays[f'{case}pixel_acc'])
    close(measures['mean_acc'], arrays[f'{case}mean_acc'])
    close(measures['miou'], arrays[f'{case}miou_present'])
    close(
        segmentation_measures(confusion, absent='zero')['miou'], arrays[f'{case}miou_absent_zero']
    )


@pytest.mark.parametrize(
    'what, pred, target', [('prediction', 5, 0), ('prediction', -1, 0), ('label', 0, 5)]
)
def test_class_ids_out_of_range_are_refused(what, pred, target):
    pred, target = torch.tensor([pred, 1]), torch.tensor([target, 1])
    with pytest.raises(ValueError, match=f'segmentation {what} holds class ids'):
        confusion_matrix(pred, target, torch.ones(2).bool(), 5)
    assert confusion_matrix(pred, target, torch.tensor([False, True]), 5).sum() == 1


def test_no_pixel_is_nan():
    none = torch.zeros(1, 1).bool()
    for measures in (
        depth_measures(depth_statistics(torch.ones(1, 1), torch.zeros(1, 1), none)),
        normals_measures(normals_statistics(torch.ones(3, 1, 1), torch.zeros(3, 1, 1), none)),
        segmentation_measures(torch.zeros(5, 5, dtype=torch.long)),
        segmentation_measures(torch.zeros(5, 5, dtype=torch.long), absent='zero'),
    ):
        assert all(torch.isnan(value).all() for value in measures.values())


def test_multi_task_gain(reference):
    examples = json.loads((reference / 'metrics' / 'delta_m.json').read_text())['examples']
    assert len(examples) == 4
    for example in examples:
        values, single, higher = (
            {task['task']: task[key] for task in example['tasks']}
            for key in ('multi_task', 'single_task', 'higher_is_better')
        )
        assert multi_task_gain(values, single, higher) == pytest.approx(
            example['delta_m_percent'], rel=1e-12, abs=1e-12
        )
        for task in example['tasks']:
            assert task_gains(values, single, higher)[task['task']] == pytest.approx(
                task['relative_gain_percent'], rel=1e-9, abs=1e-12
            )


@pytest.mark.parametrize(
    'values, single',
    [({'a': 1}, {'b': 1}), ({}, {}), ({'a': 1}, {'a': 0}), ({'a': 1}, {'a': -1})],
)
def test_gain_of_what_cannot_be_compared_is_refused(values, single):
    with pytest.raises(ValueError, match='Multi-task gain'):
        multi_task_gain(values, single, dict(a=True, b=True))
