"""States of the runs of a sweep, read from their folders, and the locks of those that go on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from mmengine.config import Config

from m2h_mm.experiments.sweep import Run
from m2h_mm.experiments.sweep_recovery import is_finished
from m2h_mm.system.locks import acquire

FINISHED = 'finished'
INTERRUPTED = 'interrupted'
NEW = 'new'
CHANGED = 'changed'
RUNNING = 'running'
# How many differing keys a message names.
_SHOWN = 5
_MISSING = object()


def differences(run: Run) -> list[str]:
    """``key: old -> new`` for each value in which the folder's ``config.py`` differs from the
    run's; empty if there is no such file.
    """
    if not run.config.is_file():
        return []
    try:
        # Compared, not built: what it imports may have changed, which is what is to be said.
        old = _flatten(Config.fromfile(run.config, import_custom_modules=False)._cfg_dict)
    except Exception as error:  # Python that was cut off raises anything
        return [f'{run.config} cannot be read ({error!r})']
    new = _flatten(run.cfg._cfg_dict)

    def show(values: Mapping, key: str) -> str:
        return repr(values[key]) if key in values else '(none)'

    return [
        f'{key}: {show(old, key)} -> {show(new, key)}'
        for key in sorted({*old, *new})
        if old.get(key, _MISSING) != new.get(key, _MISSING)
    ]


def _flatten(value: Any, path: str = '') -> dict[str, Any]:
    """Dotted keys to values that are no containers, or empty ones."""
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping) or not value:
        return {path: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat.update(_flatten(item, f'{path}.{key}'.lstrip('.')))
    return flat


def state(run: Run) -> str:
    """One of ``finished``, ``interrupted``, ``new``, ``changed`` (has another config than the
    spec's), ``running``.
    """
    if not run.config.is_file():
        return NEW
    if differences(run):
        return CHANGED
    if is_finished(run):
        return FINISHED
    lock = claim(run)
    if lock is None:
        return RUNNING
    lock.close()
    return INTERRUPTED


def claim(run: Run) -> BinaryIO | None:
    """Take a run for this process and those it hands the file to, until all of them have ended;
    None if it is taken.

    The lock is the system's: it outlives a killed sweep for as long as a training that it started
    goes on.
    """
    return acquire(run.folder, inherit=True)


def refuse_changed(runs: Sequence[Run], force: bool) -> None:
    """Raise if a run's folder holds another config than the spec's; with ``force`` empty such
    folders instead.

    Raises:
        ValueError: with the runs and the keys that differ.
    """
    changed = {run: differences(run) for run in runs if state(run) == CHANGED}
    if force:
        for run in changed:
            lock = claim(run)
            if lock is None:
                raise ValueError(
                    f'{run.name}: the spec has changed, but the run of the old one still goes on '
                    f'in {run.folder}. Wait for it, or end it.'
                )
            shutil.rmtree(run.folder)
            lock.close()
    elif changed:
        lines = [
            f'  {run.name}: {"; ".join(found[:_SHOWN])}{" ..." if len(found) > _SHOWN else ""}'
            for run, found in changed.items()
        ]
        raise ValueError(
            'The spec has changed since these runs were started (key: then -> now):\n'
            + '\n'.join(lines)
            + '\nTo start them afresh, add --force; to keep them, choose another '
            '--work-dir.'
        )
