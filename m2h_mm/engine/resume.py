"""The choice of the checkpoint that a training goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from m2h_mm.engine.checkpoint_search import describe_skipped, find_checkpoint, find_problem
from m2h_mm.engine.resume_check import find_differences
from m2h_mm.engine.training_state import find_malformed
from m2h_mm.structures.checkpoint_file import read_checkpoint


def resumed_checkpoint(runner: Runner, description: Mapping[str, Any] | None) -> str | None:
    """The checkpoint that the training goes on from; None for a fresh start, in a work dir without
    any.

    Args:
        runner: built, nothing loaded yet.
        description: of the config's model, see :func:`find_differences`.

    Raises:
        ValueError: the checkpoint that was named, or all there are, is damaged; it is of another
            training.
    """
    path = _named(runner) if runner._load_from is not None else _newest(runner)
    if path is not None and not Path(path).is_dir():
        refuse_other(runner, read_checkpoint(path, mmap=True), path, description)
    return path


def refuse_other(
    runner: Runner, content: Any, path: str | Path, description: Mapping[str, Any] | None
) -> None:
    """Refuse a checkpoint that is of another training than the runner's.

    Raises:
        ValueError: it is, with all that differs.
    """
    malformed = find_malformed(content)
    if malformed:
        raise ValueError(f'--resume: from {path} no training can go on: {malformed}.')
    try:
        found = find_differences(runner, content, description)
    except Exception as error:  # of what nobody has thought of
        found = [f'values that no training writes ({error!r})']
    if found:
        lines = ''.join(f'\n  {difference}' for difference in found)
        raise ValueError(
            f'--resume: {path} is of another training than that of the config. In the checkpoint:'
            f'{lines}\nUse the config that it was trained with. To begin a new training with its '
            f'weights, leave out --resume: --cfg-options load_from={path}, in another --work-dir.'
        )


def _named(runner: Runner) -> str:
    problem = find_problem(runner._load_from)
    if problem is None:
        return runner._load_from
    newest, _ = find_checkpoint(Path(runner._load_from).parent)
    way_out = (
        f'The newest valid one beside it is {newest}'
        if newest
        else 'There is no valid one beside it'
    )
    raise ValueError(
        f'--resume: from {runner._load_from} no training can go on: {problem}. {way_out}.'
    )


def _newest(runner: Runner) -> str | None:
    newest, skipped = find_checkpoint(runner.work_dir)
    if skipped and newest is None:
        raise ValueError(
            '--resume: no training can go on from any checkpoint in '
            f'{runner.work_dir}.\n'
            f'{describe_skipped(skipped)}\nMove them elsewhere, or choose another --work-dir, '
            'to start afresh.'
        )
    if skipped:
        runner.logger.warning(f'Skipped, though newer than {newest}:\n{describe_skipped(skipped)}')
    return None if newest is None else str(newest)
