"""Labels and the files of predictions of them, frame by frame, for the metrics of a config."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.structures import PixelData

from m2h_mm.datasets import MultiTaskDataset
from m2h_mm.datasets.transforms.packing import pack_label, to_tensor
from m2h_mm.evaluation import MultiTaskEvaluator
from m2h_mm.evaluation.metrics import task_of
from m2h_mm.evaluation.prediction_files import ScoredFrame
from m2h_mm.registry import DATASETS, EVALUATOR
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import Task, build_tasks


class LabelSelection:
    """The first step of the pipeline: of a frame's labels, keep those that are compared with a
    prediction.
    """

    def __init__(self) -> None:
        self.wanted: dict[str, Mapping[str, Path]] = {}

    def __call__(self, results: dict) -> dict:
        wanted = self.wanted[results['frame_id']]
        return {**results, 'label_paths': {name: results['label_paths'][name] for name in wanted}}


def build_dataset(cfg: Config, selection: LabelSelection) -> MultiTaskDataset:
    """The labels of a config's test data, of which ``selection`` says which are read.

    Raises:
        ValueError: a data set that is made of others.
    """
    dataset = DATASETS.build(
        dict(cfg.test_dataloader.dataset, pipeline=[selection, dict(type='LoadMultiTaskLabels')])
    )
    if not isinstance(dataset, MultiTaskDataset):
        raise ValueError(
            'test_dataloader.dataset: expected a MultiTaskDataset, got '
            f'{type(dataset).__name__}. Score the data sets one by one.'
        )
    return dataset


def build_evaluator(
    cfg: Config, tasks: Mapping[str, Task], reference: Sequence[str] | None
) -> MultiTaskEvaluator:
    """The config's evaluator, for ``tasks`` only.

    Raises:
        ValueError: an evaluator of several data sets, or of none of the tasks.
    """
    settings = dict(cfg.test_evaluator)
    if settings.get('type') != 'MultiTaskEvaluator':
        raise ValueError(
            f'test_evaluator: expected a MultiTaskEvaluator, got {settings.get("type")}. Score '
            'the data sets one by one.'
        )
    declared = build_tasks(settings['tasks'])
    settings['tasks'] = {name: task for name, task in declared.items() if name in tasks}
    if not settings['tasks']:
        raise ValueError(
            f'test_evaluator.tasks: the evaluator has {list(declared)}, the predictions are of '
            f'{list(tasks)}; there is nothing to score.'
        )
    settings['metrics'] = {
        name: config
        for name, config in (settings.get('metrics') or {}).items()
        if task_of(name, config) in settings['tasks']
    }
    if reference:
        settings['reference'] = list(reference)
    return EVALUATOR.build(settings)


class FrameLoader:
    """The frames to score: labels through the data set, predictions through the tasks.

    Args:
        dataset: see :func:`build_dataset`.
        frames: those to score, with the files of their predictions.
        readers: name to task as it reads the files of predictions.
    """

    def __init__(
        self,
        dataset: MultiTaskDataset,
        frames: Sequence[ScoredFrame],
        readers: Mapping[str, Task],
    ) -> None:
        self.dataset = dataset
        self.frames = frames
        self.readers = readers

    def load(self, position: int) -> MultiTaskDataSample:
        """The sample at a position of ``frames``, with labels and predictions."""
        frame = self.frames[position]
        labels = self.dataset[frame.index]
        sample = MultiTaskDataSample(metainfo=dict(frame_id=frame.frame_id, ori_shape=frame.size))
        for name, path in frame.files.items():
            task = self.dataset.tasks[name]
            prediction = self.readers[name].read_prediction(path)
            sample.set_field(pack_label(labels[task.gt_field]), task.gt_field)
            sample.set_field(PixelData(data=to_tensor(prediction)), task.pred_field)
        return sample

    def stamp(self, position: int) -> str:
        """Names, sizes and times of change of a frame's files."""
        frame = self.frames[position]
        labels = self.dataset.get_data_info(frame.index)['label_paths']
        files = [
            (name, path)
            for name, prediction in frame.files.items()
            for path in (prediction, labels[name])
        ]
        states = [(name, str(path), os.stat(path)) for name, path in files]
        return repr(
            (
                frame.frame_id,
                [(name, path, stat.st_size, stat.st_mtime_ns) for name, path, stat in states],
            )
        )
