"""Files that are whole or not there."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What the system refuses for the sake of the name or the place, and the way out.
_ADVICE = {
    errno.ENAMETOOLONG: 'A name can have 255 bytes on most disks: make it shorter.',
    errno.ENOTDIR: 'A file is where a folder is expected: choose another place.',
    errno.EISDIR: 'A folder is where the file is to be: choose another name.',
    **dict.fromkeys(
        (errno.EROFS, errno.EACCES, errno.EPERM),
        'Choose a folder that may be written to.',
    ),
}
_LONGEST_NAME = 255
_numbers = itertools.count()


def write_atomically(path: str | Path, content: str | bytes, durable: bool = False) -> None:
    """Write a file that is either whole or not there; its folder is made.

    Args:
        path: the file. What it held stays until all of the new content is written.
        content: of the file. Text is written as UTF-8; what a name that is not UTF-8 holds, as the
            bytes that it is.
        durable: wait until the content is on the disk. A quota, a network drive or a power cut can
            otherwise take it after it was written.

    Raises:
        OSError: the disk is full, with the size of the file and the space that is free; it is
            read-only, the name is too long, ...
    """
    content = content.encode(errors='surrogateescape') if isinstance(content, str) else content
    with replacing(path, len(content)) as temporary, open(temporary, 'wb') as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def replacing(path: str | Path, size: int | None = None) -> Iterator[Path]:
    """For what a library writes by itself: a file that is either whole or not there; its folder is
    made.

    Yields the name to write under. Behind it, what was written is looked at and gets its own name.

    Args:
        path: the file.
        size: bytes that it will have. Default: any but none.

    Raises:
        OSError: see :func:`write_atomically`. Also where not ``size`` was written, or nothing: not
            every library says that a disk is full.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        written = temporary.stat().st_size
        if written != size if size is not None else not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        raise not_written(path, error, size) from error
    except BaseException:
        _remove(temporary)
        raise


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a file that holds whole lines only, also if the disk is full meanwhile.

    Raises:
        OSError: see :func:`write_atomically`.
    """
    content = f'{line}\n'.encode()
    try:
        with open(path, 'ab', buffering=0) as file:
            before = file.tell()
            if file.write(content) != len(content):
                file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise not_written(path, error, len(content)) from error


def not_written(path: str | Path, error: OSError, size: int | None = None) -> OSError:
    """The message for ``error``: which file of how many bytes could not be written, why, the space
    that is free, and the way out.
    """
    path = Path(path)
    # With its number, so that it stays a PermissionError, an IsADirectoryError, ... Where the
    # parent is a file, making it says that it exists.
    number, reason = error.errno, error.strerror
    if number == errno.EEXIST:
        number, reason = errno.ENOTDIR, os.strerror(errno.ENOTDIR)
    needed = '' if size is None else f' ({_amount(size)})'
    return OSError(
        number,
        f'{path}{needed} could not be written: {reason}{_way_out(number, path.parent)}',
    )


def temporary_beside(path: Path) -> Path:
    """A file name in the folder of ``path`` that no other writer uses, no longer than the system
    allows, for what is to become ``path``.
    """
    ending = f'.{os.getpid()}-{next(_numbers)}.tmp'
    name = path.name
    while len(os.fsencode(name + ending)) > _LONGEST_NAME:
        name = name[1:]
    return path.with_name(name + ending)


def remove_temporaries(folder: str | Path, name: str) -> None:
    """Delete what :func:`write_atomically` had begun when its process was killed.

    Args:
        folder: where to look; it may be missing.
        name: pattern of the files that were being written, such as ``*.pth``.
    """
    for path in Path(folder).glob(f'{name}.*.tmp'):
        if re.search(r'\.\d+(-\d+)?\.tmp$', path.name):
            path.unlink(missing_ok=True)


def _way_out(number: int, folder: Path) -> str:
    if number in _ADVICE:
        return f'. {_ADVICE[number]}'
    free = _amount(shutil.disk_usage(folder).free)
    return (
        f', {free} are free there. What it held before is as it was. Make room for it, or choose '
        'another folder, and run the command again.'
    )


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:  # it was never made
        pass


def _amount(size: int) -> str:
    return f'{size / 2**20:.1f} MiB' if size >= 2**20 else f'{size / 2**10:.1f} KiB'
