"""Folders of prediction files: which file is of which frame, and whether it can be scored.

The layout is ``<folder>/<task>/<frame id>.png``, ``.npy`` or ``.mat``, capital or not. A task's
folder is called by the task (``semseg``), by the folder of its labels (``segmentation``), or by
what other code bases call it (``sal``). Frame ids may contain slashes. What a file holds is the
task's business, see :meth:`Task.read_prediction`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from m2h_mm.system.folders import list_files
from m2h_mm.system.paths import id_of_file
from m2h_mm.tasks import Task
from m2h_mm.tasks.files import array_size

PREDICTION_SUFFIXES = ('.png', '.npy', '.mat')
# How MTI-Net's and InvPT's descendants call a folder, where it is neither our task's name nor its
# label folder.
OTHER_NAMES = {'saliency': ('sal',)}
# Headers are small: the time goes into waiting for the disk, which threads overlap.
HEADER_THREADS = 8
LOOKED_AT = 4  # files of a task, spread over the folder, before all are scored


class ScoredFrame(NamedTuple):
    """One frame of the data set and what is known of it before a file is decoded.

    Args:
        index: its place in the data set.
        frame_id: its name.
        size: (H, W) of its labels, pixels.
        files: task name to prediction file, for what is to be scored.
    """

    index: int
    frame_id: str
    size: tuple[int, int]
    files: dict[str, Path]


@dataclass
class Problems:
    """What keeps labelled frames of one task from being scored; frame id to what is wrong, or a
    list of ids.
    """

    missing: list[str] = field(default_factory=list)
    wrong_size: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.wrong_size or self.damaged)


def folder_names(task: Task) -> tuple[str, ...]:
    """The names under which a task's folder of predictions is looked for; the first is what we
    write.
    """
    return tuple(dict.fromkeys((task.name, task.folder, *OTHER_NAMES.get(task.name, ()))))


def prediction_folder(pred_dir: str | Path, task: Task) -> Path | None:
    """The folder in ``pred_dir`` with the predictions of ``task``, None if there is none.

    Raises:
        ValueError: there are two.
    """
    there = {
        path.resolve(): path
        for path in (Path(pred_dir, name) for name in folder_names(task))
        if path.is_dir()
    }
    if len(there) > 1:
        raise ValueError(
            f"Two folders hold predictions of task '{task.name}': "
            f'{" and ".join(map(str, there.values()))}. Keep the one that is meant, move the '
            'other away.'
        )
    return next(iter(there.values()), None)


def index_predictions(
    pred_dir: str | Path, tasks: Mapping[str, Task]
) -> dict[str, dict[str, Path]]:
    """Find the prediction files of all tasks.

    Args:
        pred_dir: the folder of the task folders.
        tasks: name to task, those to look for.

    Returns:
        Task name to frame id to file. Tasks without a folder are not in it.

    Raises:
        FileNotFoundError: no such folder, or no task has a folder in it.
        ValueError: two folders for a task, or two files for a frame.
    """
    pred_dir = Path(pred_dir)
    if not pred_dir.is_dir():
        raise FileNotFoundError(f'There is no folder {pred_dir} of predictions.')
    folders = {name: prediction_folder(pred_dir, task) for name, task in tasks.items()}
    found = {name: _index(folder) for name, folder in folders.items() if folder is not None}
    if not found:
        wanted = ', '.join(
            ' or '.join(f'{name}/' for name in folder_names(task)) for task in tasks.values()
        )
        raise FileNotFoundError(
            f'{pred_dir} holds no predictions: looked for the folders {wanted}; it has '
            f'{sorted(path.name for path in pred_dir.iterdir())[:10] or "nothing"}.'
        )
    return found


def _index(folder: Path) -> dict[str, Path]:
    listing = list_files(folder, PREDICTION_SUFFIXES)
    files: dict[str, Path] = {}
    for path in listing.files:
        frame_id = id_of_file(path, folder)
        if frame_id in files:
            raise ValueError(
                f'Two files for frame {frame_id!r}: {files[frame_id]} and {path}. Keep one '
                'format per folder, move the other away.'
            )
        files[frame_id] = path
    if listing.left_out:
        print_log(f'Left out of {folder}: {listing.summary()}.')
    return files


def prediction_readers(
    tasks: Mapping[str, Task], formats: Mapping[str, Mapping], first_class: int = 0
) -> dict[str, Task]:
    """The tasks as they read files of predictions, however the labels of the data set are read.

    Args:
        tasks: name to task.
        formats: name to what is stated of its files, see :meth:`Task.with_format`.
        first_class: number of the first semantic class, unless a format says it.

    Raises:
        ValueError: an unknown task or key, or a value that makes no sense.
    """
    unknown = [name for name in formats if name not in tasks]
    if unknown:
        raise ValueError(
            f'--prediction-format: {unknown} are not among the tasks that are scored, '
            f'{list(tasks)}.'
        )
    readers = {}
    for name, task in tasks.items():
        settings = dict(formats.get(name, {}))
        if first_class and task.classes_of_dataset:
            settings.setdefault('first', first_class)
        try:
            readers[name] = task.for_predictions(**settings)
        except ValueError as error:
            raise ValueError(f'--prediction-format {error}') from None
    return readers


def look_at_predictions(
    readers: Mapping[str, Task], found: Mapping[str, Mapping[str, Path]], skip_bad: bool = False
) -> None:
    """Look at a few files of every task, each by itself and together, see
    :meth:`Task.look_at_predictions`.

    Args:
        readers: name to task, see :func:`prediction_readers`.
        found: task name to frame id to file.
        skip_bad: pass over files that cannot be read.

    Raises:
        ValueError: a file that cannot be read or makes no sense, or files that taken together are
            certainly wrong.
    """
    for name, reader in readers.items():
        paths = list(found.get(name, {}).values())
        places = np.linspace(0, len(paths) - 1, min(LOOKED_AT, len(paths))).round().astype(int)
        good = []
        for path in (paths[place] for place in places):
            try:
                reader.read_prediction(path)
            except (ValueError, OSError):
                if not skip_bad:
                    raise
            else:
                good.append(path)
        if good:
            reader.look_at_predictions(good)


def check_predictions(
    frames: Sequence[tuple[str, tuple[int, int], Sequence[str]]],
    found: Mapping[str, Mapping[str, Path]],
) -> tuple[list[ScoredFrame], dict[str, Problems]]:
    """Look up the prediction of every label, reading headers only.

    Args:
        frames: of the data set in its order: frame id, (H, W) of its labels, names of the tasks it
            is labelled for.
        found: task name to frame id to file.

    Returns:
        The frames with at least one prediction that can be scored; and task name to
        :class:`Problems`, of all tasks in ``found``.
    """
    problems = {name: Problems() for name in found}

    def look_at(path: Path) -> tuple[int, int] | Exception:
        try:
            return array_size(path)
        except (ValueError, OSError) as error:
            return error

    wanted = [
        (index, frame_id, size, [name for name in names if name in found])
        for index, (frame_id, size, names) in enumerate(frames)
    ]
    paths = [
        found[name][frame_id]
        for _, frame_id, _, names in wanted
        for name in names
        if frame_id in found[name]
    ]
    with ThreadPoolExecutor(HEADER_THREADS) as pool:
        seen = dict(zip(paths, pool.map(look_at, paths), strict=True))

    scored = []
    for index, frame_id, size, names in wanted:
        files = {}
        for name in names:
            path = found[name].get(frame_id)
            if path is None:
                problems[name].missing.append(frame_id)
            elif isinstance(seen[path], Exception):
                problems[name].damaged[frame_id] = f'{path}: {seen[path].__cause__ or seen[path]}'
            elif tuple(seen[path]) != tuple(size):
                problems[name].wrong_size[frame_id] = '{}x{}, its label {}x{}'.format(
                    *seen[path], *size
                )
            else:
                files[name] = path
        if files:
            scored.append(ScoredFrame(index, frame_id, tuple(size), files))
    return scored, problems
