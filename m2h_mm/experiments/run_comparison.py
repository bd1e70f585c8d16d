"""The predictions of several runs of one data set: which frames they share, how far they differ."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from m2h_mm.datasets import MultiTaskDataset
from m2h_mm.datasets.read_folders import read_folders
from m2h_mm.evaluation.prediction_files import (
    index_predictions,
    look_at_predictions,
    prediction_readers,
)
from m2h_mm.system.paths import as_id
from m2h_mm.tasks import Task
from m2h_mm.tasks.view import names_of_classes
from m2h_mm.visualization import spread
from m2h_mm.visualization.comparison import draw_comparison
from m2h_mm.visualization.error_maps import mean_error

NAMED = 5


class RunComparison:
    """The runs, the data set and what of them belongs together.

    Args:
        dataset: with the labels.
        tasks: name to task, those to draw.
        runs: name to folder.
        offsets: number of the first class in the files of each run.
        formats: run to task to what is stated of its files, see :meth:`Task.with_format`.

    Raises:
        FileNotFoundError: a folder that is not there or has no task in it.
        ValueError: a folder without a file of a frame of the split.
    """

    def __init__(
        self,
        dataset: MultiTaskDataset,
        tasks: Mapping[str, Task],
        runs: Mapping[str, Path],
        offsets: Sequence[int],
        formats: Mapping[str, Mapping[str, Mapping]] | None = None,
    ) -> None:
        self.dataset = dataset
        self.positions = {
            dataset.get_data_info(index)['frame_id']: index for index in range(len(dataset))
        }
        self.found = {run: index_predictions(folder, tasks) for run, folder in runs.items()}
        self.tasks = {
            name: task
            for name, task in tasks.items()
            if any(name in files for files in self.found.values())
        }
        self.readers = {
            run: prediction_readers(self.tasks, (formats or {}).get(run, {}), offset)
            for run, offset in zip(runs, offsets, strict=True)
        }
        for run, files in self.found.items():
            look_at_predictions(self.readers[run], files, skip_bad=True)
        self.unreadable: dict[Path, str] = {}
        for run, files in self.found.items():
            ids = {frame_id for paths in files.values() for frame_id in paths}
            if not ids & self.positions.keys():
                got = f'they are of {sorted(ids)[:NAMED]}' if ids else 'they hold none'
                raise ValueError(
                    f'{runs[run]} ({run}): looked for .png, .npy and .mat of the split '
                    f'{dataset.split!r} ({list(self.positions)[:NAMED]}, ...) in the folders of '
                    f'{list(files)}; {got}.'
                )

    def read(self) -> set[Path]:
        """The folders of images, labels and predictions."""
        infos = [self.dataset.get_data_info(index) for index in self.positions.values()]
        maps = [files for tasks in self.found.values() for files in tasks.values()]
        predictions = {path.parent for files in maps for path in files.values()}
        return predictions | read_folders(self.dataset, infos)

    def common_frames(self, task: str | None = None) -> list[str]:
        """Frames, in the order of the split, that every run has a prediction of (for ``task``).

        Raises:
            ValueError: there is none.
        """
        sets = [
            set(files.get(task, ()))
            if task
            else {frame_id for paths in files.values() for frame_id in paths}
            for files in self.found.values()
        ]
        common = [frame_id for frame_id in self.positions if all(frame_id in ids for ids in sets)]
        if not common:
            counts = ', '.join(
                f'{run} {len(ids & self.positions.keys())}'
                for run, ids in zip(self.found, sets, strict=True)
            )
            raise ValueError(
                f'No frame has a prediction of every run{f" for {task!r}" if task else ""}. '
                f'Frames of the split {self.dataset.split!r}: {len(self.positions)}; with a '
                f'prediction: {counts}. --frames ID draws frames that some runs lack.'
            )
        return common

    def prediction(self, run: str, task: str, frame_id: str) -> np.ndarray | str:
        """What a file holds, or why there is nothing."""
        path = self.found[run].get(task, {}).get(frame_id)
        if path is None:
            return 'no prediction'
        try:
            return self.readers[run][task].read_prediction(path)
        except (ValueError, OSError) as error:
            self.unreadable[path] = str(error)
            return 'file cannot be read'

    def draw(self, frame_id: str, panel_size: int) -> np.ndarray:
        """The picture of a frame."""
        frame = self.dataset[self.positions[frame_id]]
        labels = {
            name: frame[task.gt_field]
            for name, task in self.tasks.items()
            if task.gt_field in frame
        }
        maps = {
            run: {name: self.prediction(run, name, frame_id) for name in self.tasks}
            for run in self.found
        }
        classes = names_of_classes(self.tasks, self.dataset.metainfo.get('classes') or ())
        return draw_comparison(
            frame['img'], self.tasks, labels, maps, frame_id, classes, panel_size
        )

    def mean_errors(self, task: str, frame_id: str) -> list[float]:
        """Mean error of each run in a frame; NaN where it cannot be said."""
        frame = self.dataset[self.positions[frame_id]]
        label = frame.get(self.tasks[task].gt_field)
        maps = [self.prediction(run, task, frame_id) for run in self.found]
        return [
            mean_error(self.tasks[task].error(map, label))
            if label is not None
            and isinstance(map, np.ndarray)
            and map.shape[:2] == label.valid.shape
            else np.nan
            for map in maps
        ]

    def named_frames(self, frame_ids: Sequence[str]) -> list[str]:
        """``frame_ids``, each once.

        Raises:
            ValueError: one that the split does not have.
        """
        frame_ids = list(map(as_id, frame_ids))
        unknown = [frame_id for frame_id in frame_ids if frame_id not in self.positions]
        if unknown:
            close = difflib.get_close_matches(unknown[0], self.positions, n=NAMED)
            raise ValueError(
                f'--frames: {unknown} are not in the split {self.dataset.split!r} of '
                f'{self.dataset.data_root}; it has {close or list(self.positions)[:NAMED]}, ...'
            )
        return list(dict.fromkeys(frame_ids))

    def spread_frames(self, number: int) -> list[str]:
        """Of the frames that all runs have, up to ``number``, evenly spread over the split."""
        common = self.common_frames()
        return [common[position] for position in spread(len(common), number)]

    def worst_frames(self, option: str, task: str, number: int) -> list[str]:
        """The frames where the first run errs most in a task, or where the runs differ most.

        Args:
            option: ``'--worst'`` or ``'--differ'``.
            task: name of the task.
            number: of frames, at most.

        Raises:
            ValueError: a task that is not drawn, or no frame whose error can be measured.
        """
        if task not in self.tasks:
            raise ValueError(
                f'{option}: expected one of {list(self.tasks)}, the tasks that are drawn, got '
                f'{task!r}.'
            )
        common = self.common_frames(task)
        errors = np.array(
            [
                self.mean_errors(task, frame_id)
                for frame_id in track(common, description='Measuring')
            ]
        )
        rank = errors[:, 0] if option == '--worst' else errors.max(axis=1) - errors.min(axis=1)
        measured = np.flatnonzero(~np.isnan(rank))
        if not measured.size:
            raise ValueError(
                f'No frame of {self.dataset.data_root} ({self.dataset.split}) has a label for '
                f'{task!r} and a prediction of its size.'
            )
        order = measured[np.argsort(-rank[measured], kind='stable')]
        return [common[position] for position in order[:number]]
