"""The search for the newest checkpoint from which a training can go on."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from m2h_mm.engine.training_state import RUN, find_malformed
from m2h_mm.structures.checkpoint_file import read_checkpoint
from m2h_mm.structures.safetensors_file import is_safetensors

POINTER = 'last_checkpoint'
KINDS = ('.pth', '.pt')
SHARDS = '.metadata'  # in a folder of torch's distributed checkpoints


def find_checkpoint(work_dir: str | Path) -> tuple[Path | None, dict[Path, str]]:
    """The newest checkpoint of a work dir from which a training can go on.

    Args:
        work_dir: of the training. ``last_checkpoint`` in it, which is written after each
            checkpoint, may be missing, damaged, or behind: it is followed unless there is a later
            checkpoint.

    Returns:
        The checkpoint, None if none is valid; those that are newer, each with what is wrong with
        it.
    """
    skipped: dict[Path, str] = {}
    for path in _newest_first(Path(work_dir)):
        problem = find_problem(path)
        if problem is None:
            return path, skipped
        skipped[path] = problem
    return None, skipped


def find_problem(path: str | Path) -> str | None:
    """Why a training cannot go on from a checkpoint, or None if it can.

    Folders, written by several processes with a file each, are not looked into.
    """
    if os.path.isdir(path):
        return None
    if not os.path.isfile(path):  # a pipe would be waited for
        return 'it is no file, or there is none'
    if is_safetensors(path):
        return 'a file of safetensors holds weights alone, and no state of a training'
    try:
        # torch.load() finds a file that was cut off, but no wrong bytes in it.
        with ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            return f'it is damaged, in {damaged}'
        content = read_checkpoint(path)
    except BadZipFile:
        return 'it is cut off, or no checkpoint'
    except Exception as error:  # of damaged archives, nearly anything
        return str(error) or repr(error)
    return find_malformed(content)


def describe_skipped(skipped: Mapping[Path, str]) -> str:
    """One line for each file that :func:`find_checkpoint` skipped."""
    return '\n'.join(f'  {path}: {problem}' for path, problem in skipped.items())


def run_of(path: Path) -> Any:
    """What names the training that has written a checkpoint; None for one of before there were such
    names; for a file that cannot be read, nothing that any training is named by.
    """
    try:
        return read_checkpoint(path, mmap=True)['message_hub']['runtime_info'].get(RUN)
    except Exception:  # of a file of anybody, anything
        return object()


def _newest_first(work_dir: Path) -> list[Path]:
    pointed = _follow(work_dir)
    folders = {work_dir, pointed.parent} if pointed and os.path.exists(pointed) else {work_dir}
    # The best ones hold no state of the optimizer.
    found = [
        path
        for folder in folders
        for path in folder.glob('*.pth')
        if not path.name.startswith('best_')
    ]
    age = {path: (path.stat().st_mtime_ns, _step(path)) for path in found}
    ordered = sorted(found, key=age.__getitem__, reverse=True)
    if pointed not in age:
        return ordered if pointed is None else [pointed, *ordered]
    # Times alone are lost by copying, steps alone tell nothing where an earlier training has left
    # its checkpoints.
    later = [
        path
        for path in ordered
        if age[path][0] >= age[pointed][0] and age[path][1] > age[pointed][1]
    ]
    return [*later, pointed, *(path for path in ordered if path not in later and path != pointed)]


def _follow(work_dir: Path) -> Path | None:
    """The checkpoint that ``last_checkpoint`` names, beside it where the work dir was moved."""
    pointer = work_dir / POINTER
    name = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    if not name or '\0' in name:
        return None
    beside = work_dir / Path(name).name
    path = beside if os.path.isfile(beside) else Path(name)
    # Of several processes with a file each it is a folder, but not any folder.
    if os.path.isdir(path):
        return path if os.path.isfile(path / SHARDS) else None
    # What is no checkpoint by its name is not even opened, wherever the file leads.
    return path if path.suffix in KINDS else None


def _step(path: Path) -> int:
    numbers = re.findall(r'\d+', path.stem)
    return int(numbers[-1]) if numbers else -1
