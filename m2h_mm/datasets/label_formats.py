"""What a data set states about its files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from m2h_mm.registry import TASKS
from m2h_mm.tasks import Task


def state_formats(tasks: Mapping[str, Task], formats: Mapping[str, Mapping]) -> dict[str, Task]:
    """The tasks as they read the files of a data set.

    Args:
        tasks: name to task.
        formats: task to keys and values, see :meth:`Task.with_format`. A task that the data set
            does not have but that exists is left alone, so that one setting serves runs of all
            tasks and of some.

    Raises:
        ValueError: an unknown task or key, or a value that makes no sense, named by its place.
    """
    known = [*tasks, *(name for name in sorted(TASKS.module_dict) if name not in tasks)]
    for name, settings in formats.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            raise ValueError(
                f'label_formats.{name}: there is no such task; this data set has {list(tasks)}.'
                + (f' Did you mean {close[0]!r}?' if close else '')
            )
        if not isinstance(settings, Mapping):
            raise ValueError(
                f'label_formats.{name}: expected a dict of keys and values, got {settings!r}.'
            )
    try:
        return {name: task.with_format(**formats.get(name, {})) for name, task in tasks.items()}
    except ValueError as error:
        raise ValueError(f'label_formats.{error}') from None
