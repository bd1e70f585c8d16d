"""Folders of rendered data that are filled by several processes, and go on where they were killed.

One process fills a folder at a time (a lock that the system drops when its owner dies); it hands
numbers of items to worker processes and keeps a journal of finished ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from mmengine.logging import print_log

from m2h_mm.system import available_cores, remove_temporaries, write_atomically
from m2h_mm.system.files import append_line
from m2h_mm.system.locks import acquire
from m2h_mm.system.progress import progress_bar
from m2h_mm.system.text import read_json

_JOURNAL = 'finished.jsonl'


@dataclass
class Filling:
    """A folder that is to hold some items, such as frames.

    Attributes:
        folder: the folder.
        kind: of the items: the name by which :mod:`.worker` knows how to render one, and the
            program's word for several.
        parameters: what is rendered; the folder's marker says so when it is complete.
        job: what :mod:`.worker` has to know to render an item, as JSON writes it.
        items: item's number to its name.
        folders: sub-folders with the files of items.
        whole: the names of the items of which all files are there.
        render: render an item by its number, write its files, and return what is to be known of it
            later, a list.
        finish: write what the folder says of all items, given that of each by its name.
        recall: what is known of items of a folder that was complete once, by name.
    """

    folder: Path
    kind: str
    parameters: dict
    job: dict
    items: dict[int, str]
    folders: Sequence[str]
    whole: Callable[[], set[str]]
    render: Callable[[int], list]
    finish: Callable[[dict[str, list]], None]
    recall: Callable[[], dict[str, list]]

    def ensure(self, num_workers: int | None = None) -> Path:
        """Render what is missing, and return the folder.

        Any number of processes may call this at once: one renders, the others wait and find the
        items ready.

        Args:
            num_workers: processes; None for one per available core, 0 to render in this process.

        Raises:
            ValueError: the folder holds other parameters than its name says.
            PermissionError: it cannot be written to and is not complete.
            OSError: the disk is full. Finished items are kept.
        """
        if self._is_complete():
            return self.folder
        try:
            for name in self.folders:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            with self._lock():
                if not self._is_complete():
                    self._complete(available_cores() if num_workers is None else num_workers)
        except PermissionError as error:
            raise PermissionError(
                f'data_root: cannot write the rendered {self.kind} to {self.folder} ({error}). '
                'Make it writable, or set data_root to a folder that is.'
            ) from error
        return self.folder

    @property
    def _marker(self) -> Path:
        return self.folder / f'{self.kind}.json'

    def _is_complete(self) -> bool:
        path = self._marker
        if not path.is_file() or not path.stat().st_size:
            return False
        found = read_json(path, 'what was rendered: delete its folder, it will be rendered anew')
        if found != self.parameters:
            raise ValueError(
                f'{path} says {found}, but its folder stands for {self.parameters}. The folder was '
                'renamed or changed by hand: delete it, it will be rendered anew.'
            )
        # Older versions believed a full disk, and a power cut empties files that were written.
        return len(self.whole()) >= len(self.items)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        lock = acquire(self.folder)
        if lock is None:
            print_log(
                f'Waiting for the process that renders {self.kind} to {self.folder}.', 'current'
            )
            lock = acquire(self.folder, wait=True)
        with lock:
            yield

    def _complete(self, num_workers: int) -> None:
        known = self._read_journal()
        missing = [index for index, name in self.items.items() if name not in known]
        num_workers = min(num_workers, len(missing))
        print_log(
            f'Rendering {len(missing)} of {len(self.items)} {self.kind} to {self.folder} with '
            f'{num_workers or 1} processes.',
            'current',
        )
        journal = self.folder / _JOURNAL
        with progress_bar(self.kind) as progress:
            bar = progress.add_task(
                self.kind, total=len(self.items), completed=len(self.items) - len(missing)
            )
            guard = Lock()

            def finished(index: int, answer: list) -> None:
                name = self.items[index]
                with guard:
                    known[name] = answer
                    append_line(journal, json.dumps([name, answer]))
                    progress.advance(bar)

            if num_workers:
                self._render_in_processes(missing, num_workers, finished)
            else:
                for index in missing:
                    finished(index, self.render(index))
        self.finish(dict(sorted(known.items())))
        write_atomically(self._marker, json.dumps(self.parameters))
        journal.unlink(missing_ok=True)
        for name in self.folders:
            for folder in (self.folder / name, *(self.folder / name).glob('*/')):
                remove_temporaries(folder, '*.png')

    def _read_journal(self) -> dict[str, list]:
        """What is known of the items that an earlier run finished."""
        path, there = self.folder / _JOURNAL, self.whole()
        known = {name: answer for name, answer in self.recall().items() if name in there}
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines if line.endswith(']]\n')]
        for line in whole:
            name, answer = json.loads(line)
            if name in there:
                known[name] = answer
        if len(whole) < len(lines):
            write_atomically(path, ''.join(whole))
        return known

    def _render_in_processes(
        self, missing: list[int], num_workers: int, finished: Callable[[int, Any], None]
    ) -> None:
        """Render ``missing`` items in worker processes that are fed through pipes.

        Plain subprocesses instead of multiprocessing: they never import the caller's ``__main__``,
        are allowed in daemonic processes such as data loader workers, inherit no threads or locks,
        and end when their pipe does.
        """
        environment = {
            **os.environ,
            'OMP_NUM_THREADS': '1',
            'OPENBLAS_NUM_THREADS': '1',
            'PYTHONPATH': os.pathsep.join(path or os.getcwd() for path in sys.path),
        }
        command = [sys.executable, '-m', f'{__package__}.worker', str(self.folder)]
        command += [str(os.getpid()), self.kind, json.dumps(self.job)]
        queue = iter(missing)

        def work(_) -> None:
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            ) as worker:
                try:
                    for index in queue:
                        print(index, file=worker.stdin, flush=True)
                        answer = worker.stdout.readline()
                        if not answer:
                            raise BrokenPipeError
                        answer = json.loads(answer)
                        if isinstance(answer, dict):
                            raise OSError(
                                answer['errno'],
                                f'{answer["reason"]} Finished {self.kind} are kept.',
                            )
                        finished(index, answer)
                except BrokenPipeError as error:
                    raise RuntimeError(
                        f'The process that rendered number {index} of the {self.kind} to '
                        f'{self.folder} ended with code {worker.wait()}; what it said is above. '
                        f'Finished {self.kind} are kept.'
                    ) from error
                finally:
                    missing.clear()  # After a failure the other threads find nothing more to do.

        with ThreadPoolExecutor(num_workers) as pool:
            try:
                list(pool.map(work, range(num_workers)))
            finally:
                missing.clear()
