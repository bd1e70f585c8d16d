"""Files that are whole or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write_atomically(path: str | Path, content: str | bytes, durable: bool = False) -> None:
    """Write a file that is either whole or not there; its folder is made.

    Args:
        path: the file. What it held stays until all of the new content is written.
        content: of the file.
        durable: wait until the content is on the disk. A quota, a network drive or a power cut can
            otherwise take it after it was written.

    Raises:
        OSError: the disk is full, read-only, ..., with the size of the file and the space that is
            free.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    try:
        with open(temporary, 'wb') as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        # With its number, so that it stays a PermissionError, an IsADirectoryError, ...
        raise OSError(
            error.errno,
            f'{path} ({_mib(len(content))}) could not be written: {error.strerror}, {_mib(free)} '
            'are free there. What it held before is as it was. Make room for it, or choose '
            'another folder, and run the command again.',
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_temporaries(folder: str | Path, name: str) -> None:
    """Delete what :func:`write_atomically` had begun when its process was killed.

    Args:
        folder: where to look; it may be missing.
        name: pattern of the files that were being written, such as ``*.pth``.
    """
    for path in Path(folder).glob(f'{name}.*.tmp'):
        path.unlink(missing_ok=True)


def _mib(size: int) -> str:
    return f'{size / 2**20:.1f} MiB'
