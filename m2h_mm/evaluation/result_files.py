"""The files of a scoring: its results, the list of problems, and what was scored so far."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from m2h_mm.evaluation.prediction_files import Problems
from m2h_mm.evaluation.resumable import is_state
from m2h_mm.system.outputs import require_free


def listing_file(out: Path) -> Path:
    """Where problems are listed."""
    return out.with_suffix('.problems.json')


def state_file(out: Path) -> Path:
    """Where an interrupted scoring keeps what it has."""
    return out.with_name(out.name + '.partial')


def require_free_results(out: Path, inputs: Iterable[str | Path], overwrite: bool) -> None:
    """Raise unless the results may be written, and the files beside them.

    Problems and an interruption that an earlier scoring has left there are renewed. They are known
    by what is in them: another program's file of the name is not touched.

    Raises:
        FileExistsError, ValueError: see :func:`~m2h_mm.system.outputs.require_free`.
    """
    listing, state = listing_file(out), state_file(out)
    others = [*([] if _is_listing(listing) else [listing]), *([] if is_state(state) else [state])]
    require_free([out, *others], inputs, overwrite)


def _is_listing(path: Path) -> bool:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return False
    keys = {item.name for item in fields(Problems)}
    return isinstance(content, dict) and all(
        isinstance(problems, dict) and problems.keys() == keys for problems in content.values()
    )
