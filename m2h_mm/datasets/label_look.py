"""The look at the first labels of a data set, when it is built."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from m2h_mm.structures import Label
from m2h_mm.system import available_cores
from m2h_mm.tasks import Doubt, Task

from .transforms.loading import read_label

LOOKED_AT = 4  # labels of a task, spread over the data set


class Looked(NamedTuple):
    """A label that was looked at.

    Args:
        path: the file.
        label: what the task made of it.
        doubts: what looks wrong, somewhere.
    """

    path: Path
    label: Label
    doubts: list[Doubt]


def look_at_label(data: Mapping, task: Task) -> Looked:
    """Read the label of a frame, as it stands in the file, and say what looks wrong.

    Args:
        data: ``label_paths`` with the task's.
        task: whose label.

    Raises:
        ValueError, OSError: no label of the task.
    """
    path = data['label_paths'][task.name]
    label = read_label(task, path)
    doubts = [doubt for doubt in task.inspect(Path(path), label) if doubt.pixels.any()]
    return Looked(Path(path), label, doubts)


def look_at_first_labels(
    data_list: Sequence[Mapping], tasks: Mapping[str, Task], who: str, skip_bad: bool
) -> None:
    """Look at a few labels of every task, and log how they were understood and what is doubtful.

    Args:
        data_list: frames as :meth:`MultiTaskDataset.load_data_list` lists them.
        tasks: how to read them.
        who: the data set, for messages.
        skip_bad: pass over labels that are wrong, unless all are that were looked at.

    Raises:
        ValueError, OSError: a label that cannot be used or is certainly wrong.
    """
    with ThreadPoolExecutor(available_cores()) as pool:
        for name, task in tasks.items():
            labelled = [data for data in data_list if name in data.get('label_paths', ())]
            chosen = [labelled[index] for index in _spread(len(labelled))]
            found = list(pool.map(lambda data, task=task: _look(data, task), chosen))
            wrong = [item for item in found if isinstance(item, Exception)]
            if wrong and (not skip_bad or len(wrong) == len(found)):
                raise wrong[0]
            looked = [item for item in found if isinstance(item, Looked)]
            if looked:
                _log(task, looked, who)


def _spread(total: int) -> list[int]:
    """The first and up to three more, spread evenly."""
    return sorted(set(np.linspace(0, total - 1, min(LOOKED_AT, total)).round().astype(int)))


def _look(data: Mapping, task: Task) -> Looked | Exception:
    try:
        looked = look_at_label(data, task)
    except (ValueError, OSError) as error:
        return error
    for doubt in looked.doubts:
        if doubt.certain:
            return ValueError(
                f'{task.name} label {looked.path}: {doubt.what} ({share(doubt)} of the pixels). '
                f'{doubt.advice}'.rstrip()
            )
    return looked


def _log(task: Task, looked: Sequence[Looked], who: str) -> None:
    """Log how labels were understood, and what at least half of them raise doubts about: what a
    single one has is a matter of that frame.
    """
    explained = task.explain([item.path for item in looked], [item.label for item in looked])
    if explained:
        print_log(f'{who}: {task.name} {explained}', 'current')
    doubts: dict[str, list[tuple[Looked, Doubt]]] = {}
    for item in looked:
        for doubt in item.doubts:
            doubts.setdefault(str(doubt), []).append((item, doubt))
    for shared in doubts.values():
        if 2 * len(shared) >= len(looked):
            first, doubt = shared[0]
            print_log(
                f'{who}: {task.name} labels, {len(shared)} of {len(looked)} that were looked at: '
                f'{doubt.what} ({share(doubt)} of the pixels of {first.path}). '
                f'{doubt.advice}'.rstrip(),
                'current',
                logging.WARNING,
            )


def share(doubt: Doubt) -> str:
    """How much of a label a doubt concerns."""
    return f'{doubt.pixels.mean():.2%}'
