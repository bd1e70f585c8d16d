"""Files that are whole or not there."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
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
    path = Path(path)
    content = content.encode(errors='surrogateescape') if isinstance(content, str) else content
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, 'wb') as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _remove(temporary)
        # With its number, so that it stays a PermissionError, an IsADirectoryError, ... Where
        # the parent is a file, making it says that it exists.
        number, reason = error.errno, error.strerror
        if number == errno.EEXIST:
            number, reason = errno.ENOTDIR, os.strerror(errno.ENOTDIR)
        raise OSError(
            number,
            f'{path} ({_mib(len(content))}) could not be written: {reason}'
            + _way_out(number, path.parent),
        ) from error
    except BaseException:
        _remove(temporary)
        raise


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
    free = _mib(shutil.disk_usage(folder).free)
    return (
        f', {free} are free there. What it held before is as it was. Make room for it, or choose '
        'another folder, and run the command again.'
    )


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:  # it was never made
        pass


def _mib(size: int) -> str:
    return f'{size / 2**20:.1f} MiB'
