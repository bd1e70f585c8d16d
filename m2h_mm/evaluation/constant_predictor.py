"""The score of the best constant prediction, which a first training is compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from torch.utils.data import DataLoader, Dataset

from m2h_mm.structures.label import read_label
from m2h_mm.tasks import Task

MAX_FRAMES = 500


def evaluate_constant_predictor(
    tasks: Mapping[str, Task], train_set: Dataset, test_loader: DataLoader, evaluator: Evaluator
) -> dict[str, float]:
    """Metrics of the predictor that says the same of every pixel: majority class, mean depth, mean
    normal.

    Args:
        tasks: the tasks to predict.
        train_set: un-augmented training frames; up to 500, evenly spread, are looked at.
        test_loader: the frames to predict.
        evaluator: computes the metrics.

    Returns:
        Metric name to value, as the evaluator names them.
    """
    totals = {}
    for index in np.unique(np.linspace(0, len(train_set) - 1, MAX_FRAMES).astype(int)):
        sample = train_set[int(index)]['data_samples']
        for name, task in tasks.items():
            label = read_label(sample, task.gt_field)
            if label is not None:
                totals[name] = totals.get(name, 0) + task.label_statistics(label)
    constants = {name: tasks[name].constant_prediction(total) for name, total in totals.items()}

    for batch in test_loader:
        for sample in batch['data_samples']:
            for name, constant in constants.items():
                prediction = constant.expand(-1, *sample.ori_shape)
                sample.set_field(PixelData(data=prediction), tasks[name].pred_field)
        evaluator.process(data_samples=batch['data_samples'], data_batch=batch)
    return evaluator.evaluate(len(test_loader.dataset))
