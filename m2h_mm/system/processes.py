"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping

STARTED_BY = 'M2H_MM_STARTED_BY'
"""Variable of the environment: the number of the process that a command is to end with."""
_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 1.0


def end_with_parent(parent: int | None = None) -> None:
    """From now on this process is killed when the one that started it ends, however that ends.

    What a killed process leaves half-written has to be of no harm: files are written by
    :func:`~m2h_mm.system.files.write_atomically`.

    On Linux the system does it, and takes the *thread* that started this process for its parent:
    that thread has to live as long as the process is wanted. Elsewhere a thread looks once a second
    whether the parent is still the same.

    Args:
        parent: number of the process that started this one, as it says itself; so an end before
            this call is noticed too. Default: whoever is the parent now.
    """
    parent = os.getppid() if parent is None else parent
    if _ask_the_system():
        # The parent may have ended before the system was asked.
        if os.getppid() != parent:
            _end()
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def end_with_launcher() -> None:
    """:func:`end_with_parent`, if this process was started by torchrun or by a program that set
    :data:`STARTED_BY`; else nothing.

    Processes that a shell started in the background go on when the shell ends, as ever.
    """
    # Taken out: what this process starts has another parent.
    parent = os.environ.pop(STARTED_BY, None)
    if parent is not None:
        end_with_parent(int(parent))
    elif 'TORCHELASTIC_RUN_ID' in os.environ:
        end_with_parent()


def ending_with_this(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for a command of this package that is to end with this process."""
    return {**variables, STARTED_BY: str(os.getpid())}


def _ask_the_system() -> bool:
    if sys.platform != 'linux':
        return False
    return ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    _end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
