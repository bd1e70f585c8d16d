"""The folder of a page's uploads and results, which is not left behind."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m2h_mm.system.locks import LOCK, acquire

PREFIX = 'm2h_mm_web_'


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end.

    A process that is killed removes nothing: what such pages have left is removed first. A page
    holds a lock on its folder, which ends with its process.
    """
    remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = acquire(folder)
    try:
        files = folder / 'files'  # of which the lock is no part: the page hands out what is there
        files.mkdir()
        yield files
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.close()


def remove_leftovers() -> None:
    """Remove the folders of this user's pages whose processes are dead."""
    for folder in Path(tempfile.gettempdir()).glob(f'{PREFIX}*'):
        if not (_is_ours(folder) and (folder / LOCK).is_file()):
            continue
        try:
            lock = acquire(folder)
        except OSError:  # it has just been removed by its own process or another one
            continue
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            lock.close()


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder, no link, of this user."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and (
        not hasattr(os, 'getuid') or found.st_uid == os.getuid()
    )
