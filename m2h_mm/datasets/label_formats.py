"""What a data set states about its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from m2h_mm.registry import TASKS
from m2h_mm.system.spelling import did_you_mean
from m2h_mm.tasks import Task
from m2h_mm.tasks.semseg.label_format import OF_DATASET


def state_formats(
    tasks: Mapping[str, Task],
    formats: Mapping[str, Mapping],
    zero_is_void: bool = False,
    palette: Sequence[Sequence[int]] | None = None,
) -> dict[str, Task]:
    """The tasks as they read the files of a data set.

    Args:
        tasks: name to task.
        zero_is_void: the classes of the data set are counted from 1, unless a format says else.
        palette: the data set's colours, for a format that refers to them.
        formats: task to keys and values, see :meth:`Task.with_format`. A task that the data set
            does not have but that exists is left alone, so that one setting serves runs of all
            tasks and of some.

    Raises:
        ValueError: an unknown task or key, or a value that makes no sense, named by its place.
    """
    known = [*tasks, *(name for name in sorted(TASKS.module_dict) if name not in tasks)]
    for name, settings in formats.items():
        if name not in known:
            raise ValueError(
                f'label_formats.{name}: there is no such task; this data set has {list(tasks)}.'
                + did_you_mean(name, known)
            )
        if not isinstance(settings, Mapping):
            raise ValueError(
                f'label_formats.{name}: expected a dict of keys and values, got {settings!r}.'
            )
    stated = {name: dict(formats.get(name, {})) for name in tasks}
    for name, settings in stated.items():
        task = tasks[name]
        if zero_is_void and task.classes_of_dataset and hasattr(task.label_format, 'first'):
            settings.setdefault('first', 1)
    try:
        return {
            name: task.with_format(**with_palette(name, stated[name], palette))
            for name, task in tasks.items()
        }
    except ValueError as error:
        raise ValueError(f'label_formats.{error}') from None


def with_palette(
    name: str, settings: Mapping[str, Any], palette: Sequence[Sequence[int]] | None
) -> dict[str, Any]:
    """The format of a task, the data set's own palette filled in where it refers to it.

    Raises:
        ValueError: the data set has none.
    """
    if settings.get('palette') != OF_DATASET:
        return dict(settings)
    if palette is None:
        raise ValueError(
            f'{name}.palette: the data set has none; give the colours themselves, or '
            'metainfo=dict(palette=[(R, G, B), ...]).'
        )
    return {**settings, 'palette': [tuple(colour) for colour in palette]}
