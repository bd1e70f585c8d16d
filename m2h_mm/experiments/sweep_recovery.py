"""Files of a sweep's run that are damaged: what becomes of them, and what is done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from m2h_mm.engine.checkpoint_search import POINTER, find_checkpoint

if TYPE_CHECKING:
    from m2h_mm.experiments.sweep import Run

DAMAGED = '.damaged'


def is_finished(run: Run) -> bool:
    """Whether the results of a run are there, and whole."""
    try:
        return isinstance(json.loads(run.results.read_text())['metrics'], dict)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_trained(run: Run) -> bool:
    """Whether the training has reached its end, and its last checkpoint is whole."""
    pointer = run.training / POINTER
    last = run.cfg.train_cfg.get('max_iters', run.cfg.train_cfg.get('max_epochs'))
    if not pointer.is_file():
        return False
    name = Path(pointer.read_text(errors='replace').strip()).name
    if Path(name).stem.split('_')[-1] != str(last):
        return False
    newest, _ = find_checkpoint(run.training)
    return newest is not None and newest.name == name


def recover(run: Run) -> list[str]:
    """Put aside what would keep an interrupted run from going on.

    The training falls back on its newest checkpoint that is whole by itself. Where none is, it
    starts afresh: those that are damaged get another name, and so do damaged results.

    Args:
        run: claimed by this process.

    Returns:
        What is damaged and what is done about it; empty as a rule.
    """
    said = []
    if run.results.is_file() and not is_finished(run):
        _put_aside(run.results)
        said.append(f'{run.results} is damaged: it is tested again')
    newest, skipped = find_checkpoint(run.training)
    own = [path for path in skipped if path.is_file() and path.parent == run.training]
    names = ', '.join(f'{path.name} ({skipped[path]})' for path in own)
    if own and newest is not None:
        said.append(f'damaged in {run.training}: {names}; it goes on from {newest.name}')
    elif own:
        for path in own:
            _put_aside(path)
        (run.training / POINTER).unlink(missing_ok=True)
        said.append(
            f'damaged in {run.training}: {names}; none is whole, it is trained afresh. What is '
            f'damaged is kept as *{DAMAGED}'
        )
    return said


def _put_aside(path: Path) -> None:
    path.rename(path.with_name(path.name + DAMAGED))
