"""A folder that one process has for itself for as long as it lives."""

from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None

LOCK = '.lock'
# What file systems answer that know no locks, mostly network drives.
_UNKNOWN = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
# Those of this process that a forked child, such as a worker of a data loader, must not keep.
_own: list[BinaryIO] = []


def acquire(folder: str | Path, wait: bool = False, inherit: bool = False) -> BinaryIO | None:
    """Take a folder, which is made, for this process.

    The lock is the system's: it ends with the process, however that ends, or when the file is
    closed. Nothing of it is left but an empty file that means nothing. Where a file system has no
    locks there is a warning, and the folder counts as taken.

    Args:
        folder: to be taken; the lock is a file ``.lock`` in it.
        wait: until it is free.
        inherit: processes that this one forks, or hands the file to, keep the folder until the last
            of them has ended.

    Returns:
        The file that holds the lock; None if another process has it.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Not through a link, and nothing is cut off before the lock is there.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0)
    file = os.fdopen(os.open(folder / LOCK, flags, 0o666), 'r+b', buffering=0)
    if not _lock(file, folder, wait):
        file.close()
        return None
    with suppress(OSError):  # on a full disk nobody learns who has it
        file.truncate(0)
        file.write(f'process {os.getpid()} on {socket.gethostname()}'.encode())
    if not inherit:
        _keep_from_children(file)
    return file


@contextmanager
def exclusive(folder: str | Path, busy: str) -> Iterator[None]:
    """Within it, a folder is this process's alone, see :func:`acquire`.

    Args:
        folder: which is made.
        busy: the message where another process has it: what it does there, and the way out.

    Raises:
        ValueError: another process has it.
    """
    lock = acquire(folder)
    if lock is None:
        raise ValueError(f'{busy} ({holder(folder)})')
    with lock:
        yield


def holder(folder: str | Path) -> str:
    """Who has taken a folder, such as ``process 4711 on node3``."""
    try:
        return (Path(folder) / LOCK).read_text(errors='replace') or 'another process'
    except OSError:
        return 'another process'


def _lock(file: BinaryIO, folder: Path, wait: bool) -> bool:
    if fcntl is None:
        _warn(folder, 'this system has none')
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNKNOWN:
            file.close()
            raise
        _warn(folder, error.strerror)
    return True


def _warn(folder: Path, reason: str) -> None:
    warnings.warn(
        f'{folder} cannot be locked ({reason}): nothing keeps a second process from writing to it. '
        'Start only one that does.',
        stacklevel=3,
    )


def _keep_from_children(file: BinaryIO) -> None:
    if not _own and hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=_close_own)
    _own.append(file)


def _close_own() -> None:
    for file in _own:
        file.close()
