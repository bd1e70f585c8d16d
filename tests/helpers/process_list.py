"""What Linux says about processes: who is alive, and who started whom."""

import time
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(
    not Path('/proc/self/stat').is_file(), reason='processes are listed by Linux only'
)


def _stat(pid: int | str) -> list[str]:
    """Its state, its parent, ...; empty if there is no such process."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """One that has ended, and whose end its parent has not asked for, is not."""
    return _stat(pid)[:1] not in ([], ['Z'], ['X'])


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    names = [path.name for path in Path('/proc').iterdir() if path.name.isdecimal()]
    return [int(name) for name in names if _stat(name)[1:2] == [str(pid)]]


def all_end(pids: list[int], seconds: float = 10) -> bool:
    """Whether all of them have ended after at most so long."""
    until = time.monotonic() + seconds
    while any(map(is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.01)
    return not any(map(is_alive, pids))
