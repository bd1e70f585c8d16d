"""Folders of prediction files: which file is of which frame, and whether it can be scored.

The layout is ``<folder>/<task>/<frame id>.png``, ``.npy`` or ``.mat``. A task's folder is called by
the task (``semseg``), by the folder of its labels (``segmentation``), or by what other code bases
call it (``sal``). Frame ids may contain slashes. What a file holds is the task's business, see
:meth:`Task.read_prediction`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import scipy.io
from scipy.io.matlab import MatReadError

from m2h_mm.tasks import Task

PREDICTION_SUFFIXES = ('.png', '.npy', '.mat')
# How MTI-Net's and InvPT's descendants call a folder, where it is neither our task's name nor its
# label folder.
OTHER_NAMES = {'saliency': ('sal',)}
# Headers are small: the time goes into waiting for the disk, which threads overlap.
HEADER_THREADS = 8
# What SciPy raises for one damaged file or another.
_MAT_ERRORS = (
    MatReadError,
    ValueError,
    TypeError,
    IndexError,
    NotImplementedError,
    EOFError,
    OSError,
    zlib.error,
)


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
    files: dict[str, Path] = {}
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix not in PREDICTION_SUFFIXES or name.startswith('.'):
                continue
            frame_id = path.relative_to(folder).with_suffix('').as_posix()
            if frame_id in files:
                raise ValueError(
                    f'Two files for frame {frame_id!r}: {files[frame_id]} and {path}. Keep one '
                    'format per folder, move the other away.'
                )
            files[frame_id] = path
    return files


def prediction_size(path: Path, frame_size: Callable[[Path], tuple[int, int]]) -> tuple[int, int]:
    """``(H, W)`` of a prediction file, from its header.

    Args:
        path: the file.
        frame_size: reads the header of a ``.png`` or ``.npy``.

    Raises:
        ValueError: the file is not intact.
    """
    if path.suffix != '.mat':
        return frame_size(path)
    try:
        variables = scipy.io.whosmat(path)
    except _MAT_ERRORS as error:
        raise ValueError(
            f'{path} cannot be read ({error}). Expected an intact .mat of version 5 to 7.'
        ) from error
    if len(variables) != 1:
        raise ValueError(
            f'{path}: expected one variable, found {[name for name, *_ in variables]}.'
        )
    shape = [length for length in variables[0][1] if length != 1]
    if len(shape) < 2:
        raise ValueError(
            f'{path}: expected (H, W), {variables[0][0]!r} has the shape {variables[0][1]}.'
        )
    return shape[0], shape[1]


def check_predictions(
    frames: Sequence[tuple[str, tuple[int, int], Sequence[str]]],
    found: Mapping[str, Mapping[str, Path]],
    size_of: Callable[[Path], tuple[int, int]],
) -> tuple[list[ScoredFrame], dict[str, Problems]]:
    """Look up the prediction of every label, reading headers only.

    Args:
        frames: of the data set in its order: frame id, (H, W) of its labels, names of the tasks it
            is labelled for.
        found: task name to frame id to file.
        size_of: (H, W) of a file; a ValueError says that it is damaged.

    Returns:
        The frames with at least one prediction that can be scored; and task name to
        :class:`Problems`, of all tasks in ``found``.
    """
    problems = {name: Problems() for name in found}

    def look_at(path: Path) -> tuple[int, int] | ValueError:
        try:
            return size_of(path)
        except ValueError as error:
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
            elif isinstance(seen[path], ValueError):
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
