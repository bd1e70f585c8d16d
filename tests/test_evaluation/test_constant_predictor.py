import pytest
import torch
from label_fields import label_field
from torch.utils.data import DataLoader

from m2h_mm.evaluation import MultiTaskEvaluator, evaluate_constant_predictor
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import build_tasks


def frame(depth, classes):
    sample = MultiTaskDataSample(metainfo=dict(ori_shape=(1, 2)))
    sample.set_field(label_field(torch.tensor([[depth]]), 0), 'gt_depth')
    if classes:
        ids = torch.tensor([[classes]], dtype=torch.uint8)
        sample.set_field(label_field(ids, 255), 'gt_semseg')
    return dict(inputs=torch.zeros(3, 1, 2), data_samples=sample)


def test_majority_class_and_mean_depth_are_scored():
    train = [frame([1.0, 3.0], [2, 2]), frame([0.0, 5.0], []), frame([3.0, 3.0], [1, 255])]
    test = [frame([4.0, 0.0], [2, 1])]
    loader = DataLoader(
        test, collate_fn=lambda batch: dict(data_samples=[item['data_samples'] for item in batch])
    )
    tasks = build_tasks(dict(semseg=dict(num_classes=3), depth=None, normals=None))
    evaluator = MultiTaskEvaluator(tasks, dict(normals=None))
    metrics = evaluate_constant_predictor(tasks, train, loader, evaluator)
    assert metrics['depth/rmse'] == pytest.approx(1.0)  # mean 3 m
    assert metrics['semseg/aAcc'] == pytest.approx(50.0)  # majority class 2
