"""How the tasks of a config are built."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from m2h_mm.registry import TASKS
from m2h_mm.system.spelling import did_you_mean

from .base import Task


def build_tasks(
    tasks: Mapping[str, dict | None] | Sequence[str] | Mapping[str, Task],
) -> dict[str, Task]:
    """Build the tasks of a config.

    Args:
        tasks: names, or a dict of name to arguments. The class is the one registered under the name
            unless the arguments hold a ``type``.

    Returns:
        Name to :class:`Task`, in the config's order.

    Raises:
        ValueError: a name that is not registered, or no task at all.
    """
    items = tasks.items() if isinstance(tasks, Mapping) else [(name, None) for name in tasks]
    built = {name: cfg if isinstance(cfg, Task) else _build(name, cfg) for name, cfg in items}
    if not built:
        raise ValueError(
            'tasks: expected at least one task, such as dict(semseg=dict(num_classes=40), '
            'depth=dict()), got none.'
        )
    return built


def _build(name: str, cfg: Mapping | None) -> Task:
    if not re.fullmatch(r'[\w-]+', name):  # also what a stranger's checkpoint says
        raise ValueError(
            f'tasks: {name!r} cannot be the name of a task, after which files, folders and metrics '
            'are called. Expected letters and digits.'
        )
    arguments = dict(cfg or {})
    kind = arguments.setdefault('type', name)
    TASKS.import_from_location()
    # mmengine's ``get`` would import a module of the unknown name, should there be one.
    if isinstance(kind, str) and '.' not in kind and kind not in TASKS.module_dict:
        known = sorted(TASKS.module_dict)
        raise ValueError(
            f'tasks: unknown task {kind!r}; known are {known}.{did_you_mean(kind, known)} '
            'A task of your own is registered with @TASKS.register_module(name) in a module '
            'named by custom_imports.'
        )
    task = TASKS.build(arguments)
    task.name = name
    return task
