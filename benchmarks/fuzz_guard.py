"""The judge of a fuzz: what an input may do, and what its refusal must look like."""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import m2h_mm
from m2h_mm.cli.errors import OF_THE_SYSTEM

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = (Path(m2h_mm.__file__).parent, REPOSITORY / 'tools')
REFUSALS = (ValueError, OSError, ImportError, TypeError)
CPU_SECONDS = 5.0
MEMORY_BYTES = 2**29
_KEPT_FREE = 3 * 2**29  # of address space, beyond what the imported libraries have taken
REFUSED, ACCEPTED, FINDING = 'refused', 'accepted', 'finding'
_CHANGES = {
    'os.remove', 'os.rename', 'os.rmdir', 'os.mkdir', 'os.link', 'os.symlink', 'os.truncate',
    'os.chmod', 'os.chown', 'os.utime', 'shutil.rmtree', 'shutil.move', 'tempfile.mkstemp',
    'tempfile.mkdtemp',
}  # fmt: skip
_NEVER = re.compile(
    r'subprocess\.|os\.(system|exec|spawn|posix_spawn|fork)|socket\.|ctypes\.dlopen'
)
_DEVICES = re.compile(r'/(dev|proc|sys|etc)/')
# What libraries ask of the system for themselves.
_HARMLESS = re.compile(r'/dev/(null|u?random|shm)|/proc/(self|cpuinfo|meminfo)|/sys/')


class Implausible(AssertionError):
    """A result that makes no sense."""


class Slow(BaseException):
    """Not an Exception, which would be taken for one of a decoder's."""


@dataclass
class Attempt:
    """One input.

    Attributes:
        calls: what is done with it, by name; each returns or raises by itself.
        names: words of which a refusal must hold one, such as the file's name.
        files: that the input consists of.
        note: what was changed, where no file says it.
        memory: bytes that it may take.
    """

    calls: dict[str, Callable[[], Any]]
    names: Sequence[str]
    files: Sequence[Path] = ()
    note: str = ''
    memory: int = MEMORY_BYTES


class Verdict(NamedTuple):
    """What became of an input: ``outcome``, and of a finding the call and what happened."""

    outcome: str
    call: str = ''
    text: str = ''


@dataclass
class Guard:
    """Watches what is done while calls run.

    Args:
        sandbox: the one folder in which files may be made or change.

    Attributes:
        seen: what was done outside of it.
    """

    sandbox: Path
    seen: list[str] = field(default_factory=list)
    active: bool = False

    def install(self) -> Guard:
        """Listen to Python's audit events, for the rest of the process."""
        self.sandbox = Path(os.path.realpath(self.sandbox))
        sys.addaudithook(self._hear)
        return self

    def _hear(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event == 'open':
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes or (isinstance(mode, str) and set(mode) & set('wax+')):
                self._refuse_outside(event, path)
            elif isinstance(path, str) and _DEVICES.match(path) and not _HARMLESS.match(path):
                self._note(f'{event} {path}')
        elif event in _CHANGES:
            for path in arguments[: 2 if event in ('os.rename', 'os.link', 'shutil.move') else 1]:
                self._refuse_outside(event, path)
        elif _NEVER.match(event):
            self._note(f'{event} {arguments!r}'[:200])

    def _refuse_outside(self, event: str, path: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        real = os.path.realpath(os.fsdecode(path))
        if os.path.commonpath((real, self.sandbox)) != str(self.sandbox) and real != os.devnull:
            self._note(f'{event} {real}')

    def _note(self, what: str) -> None:
        self.seen.append(what)
        raise PermissionError(f'the fuzz forbids: {what}')

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self.active = True
        try:
            yield
        finally:
            self.active = False


class Canaries:
    """Files beside the sandbox, which also native code must leave alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in ('passwd', '0.png', 'iter_3.pth', 'cameras.json'):
            (folder / name).write_bytes(b'canary')
        self.before = self._look()

    def _look(self) -> dict[str, tuple[int, int]]:
        found = {}
        for entry in os.scandir(self.folder):
            status = entry.stat(follow_symlinks=False)
            found[entry.name] = (status.st_size, status.st_mtime_ns)
        return found

    def changes(self) -> str:
        """What is otherwise than at the last look; empty: nothing."""
        now, before = self._look(), self.before
        self.before = now
        names = [name for name in now.keys() | before.keys() if now.get(name) != before.get(name)]
        return f'changed beside the sandbox: {sorted(names)}' if names else ''


def judge(attempt: Attempt, guard: Guard, canaries: Canaries | None = None) -> Verdict:
    """Do all that is to be done with an input; the first finding ends it. It is refused where one
    of the calls refuses it.
    """
    outcome = Verdict(ACCEPTED)
    for name, call in attempt.calls.items():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = _judge_call(call, attempt.names, guard)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024
        if guard.seen:
            found = Verdict(FINDING, text='outside of the sandbox: ' + '; '.join(guard.seen))
            guard.seen.clear()
        elif found.outcome != FINDING and grown > attempt.memory:
            found = Verdict(FINDING, text=f'took {grown >> 20} MiB of memory')
        elif canaries is not None and (changed := canaries.changes()):
            found = Verdict(FINDING, text=changed)
        if found.outcome == FINDING:
            return found._replace(call=name)
        if found.outcome == REFUSED:
            outcome = found
    return outcome


def _judge_call(call: Callable[[], Any], names: Sequence[str], guard: Guard) -> Verdict:
    silent = io.StringIO()
    try:
        with guard.watching(), contextlib.redirect_stdout(silent), cpu_limit(CPU_SECONDS):
            call()
    except Implausible as error:
        return Verdict(FINDING, text=f'implausible: {error}')
    except (Slow, Exception, SystemExit) as error:
        text = str(error)
        if isinstance(error, Slow):
            problem = f'took more than {CPU_SECONDS:g} s of a processor'
        elif not on_purpose(error):
            problem = 'no message of this project'
        elif not any(name in text for name in names):
            problem = f'names none of {list(names)[:4]}'
        else:
            return Verdict(REFUSED, text=text)
        stack = ''.join(traceback.format_exception(error)[-12:])
        return Verdict(FINDING, text=f'{problem}: {type(error).__name__}: {text[:500]}\n{stack}')
    return Verdict(ACCEPTED)


def on_purpose(error: BaseException) -> bool:
    """Whether it was raised by a ``raise`` of this project, or is what the system refuses."""
    if not isinstance(error, REFUSALS):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = any(folder in Path(last.filename).resolve().parents for folder in OURS)
    if ours and linecache.getline(last.filename, last.lineno or 0).strip().startswith('raise'):
        return True
    return isinstance(error, OSError) and error.errno in OF_THE_SYSTEM


@contextlib.contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`Slow` in what takes longer, of the processor's time: others may use it too."""

    def stop(*_: object) -> None:
        raise Slow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def limit_memory() -> None:
    """Let the process ask for some memory beyond what it has, and no more."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + _KEPT_FREE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def use_temporary(folder: Path) -> None:
    """Where temporary files go from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ['TMPDIR'] = tempfile.tempdir = str(folder)
