"""Errors of this project as one message instead of a stack of calls."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
TRACEBACK_SWITCH = 'M2H_MM_TRACEBACK'
# What the system refuses is no fault of the code that asked, whosever that is.
OF_THE_SYSTEM = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EISDIR,
    errno.ENOENT,
    errno.ELOOP,
}


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Show an error that this project raised on purpose as one message, and end with status 1.

    So is what the system refuses: a full or read-only disk, a file in place of a folder, a file
    that has vanished. What other libraries raise keeps its traceback. ``M2H_MM_TRACEBACK=1`` shows
    it always.

    Raises:
        SystemExit: in place of a ``ValueError``, ``TypeError`` or ``OSError`` of this package, or
            an ``ImportError`` that says what to install.
    """
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError) as error:
        file, message = _origin(error)
        ours = PACKAGE in Path(file).resolve().parents
        refused = isinstance(error, OSError) and _number(error, message) in OF_THE_SYSTEM
        if isinstance(error, ImportError):
            # On purpose: an optional package is not there. Else something is broken.
            ours = error.__cause__ is not None
        if not (ours or refused) or os.environ.get(TRACEBACK_SWITCH):
            raise
        print(
            f'\nerror: {message}\n({TRACEBACK_SWITCH}=1 shows where it was raised.)',
            file=sys.stderr,
        )
        raise SystemExit(1) from None


def _origin(error: Exception) -> tuple[str, str]:
    """The file in which an error was raised, and its message.

    A data loader's worker passes its error on as text, with the traceback in it.
    """
    text = str(error)
    if text.startswith('Caught ') and 'Original Traceback' in text:
        trace, _, message = text.rpartition(f'\n{type(error).__name__}: ')
        return re.findall(r'File "(.+)", line \d+', trace)[-1], message
    return traceback.extract_tb(error.__traceback__)[-1].filename, text


def _number(error: OSError, message: str) -> int | None:
    """The system's number of an error; a worker passes it on within the text."""
    if error.errno is not None:
        return error.errno
    found = re.match(r'\[Errno (\d+)\]', message)
    return int(found[1]) if found else None
