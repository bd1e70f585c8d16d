"""The processes of a sweep: each run is a training and a test, several at a time."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from m2h_mm.experiments.sweep import Run
from m2h_mm.experiments.sweep_recovery import is_finished, is_trained, recover
from m2h_mm.experiments.sweep_states import claim
from m2h_mm.system import write_atomically
from m2h_mm.system.files import append_line
from m2h_mm.system.processes import ending_with_this

PROGRAM = (sys.executable, '-m', 'm2h_mm')
POLL_SECONDS = 0.2
# How much of the log of a failed run is shown.
LOG_LINES = 8


@dataclass(frozen=True)
class Launcher:
    """How a run's processes are started.

    Args:
        kind: 'none', or 'slurm', which starts them by ``srun``.
        srun_args: further arguments of ``srun``, as one would type them.
        max_parallel: runs at the same time.
    """

    kind: str = 'none'
    srun_args: str = ''
    max_parallel: int = 1

    def commands(self, run: Run) -> list[list[str]]:
        """What is left of a run: the training, unless it has reached its end, and the test."""

        def command(name: str, *arguments: object) -> list[str]:
            prefix = ['srun', *shlex.split(self.srun_args)] if self.kind == 'slurm' else []
            return [
                *prefix,
                *PROGRAM,
                name,
                *map(str, arguments),
                '--launcher',
                self.kind,
            ]

        train = command('train', run.config, '--work-dir', run.training, '--resume')
        test = command(
            'test',
            run.config,
            run.training,
            '--work-dir',
            run.folder / 'test',
            '--out',
            run.results,
        )
        return [test] if is_trained(run) else [train, test]

    def environment(self, slot: int) -> dict[str, str]:
        """Of the processes of the ``slot``-th of the runs at the same time: their share of the
        cores, or a GPU.
        """
        if self.kind == 'slurm':  # whose processes run on other machines
            return dict(os.environ)
        environment = ending_with_this(os.environ)
        if self.max_parallel == 1:
            return environment
        if torch.cuda.is_available():
            visible = os.environ.get('CUDA_VISIBLE_DEVICES') or ','.join(
                map(str, range(torch.cuda.device_count()))
            )
            devices = visible.split(',')
            environment['CUDA_VISIBLE_DEVICES'] = devices[slot % len(devices)]
        else:
            cores = len(os.sched_getaffinity(0))
            environment.setdefault('OMP_NUM_THREADS', str(max(1, cores // self.max_parallel)))
        return environment


class Process:
    """A run that is under way, its commands one after the other.

    Args:
        run: whose ``config.py`` is written unless it is there.
        lock: of :func:`claim`, kept until the run has ended.
        launcher: what makes the commands.
        slot: see :meth:`Launcher.environment`.
    """

    def __init__(self, run: Run, lock: BinaryIO, launcher: Launcher, slot: int) -> None:
        self.run, self.slot = run, slot
        self.started = time.monotonic()
        if not run.config.is_file():
            write_atomically(run.config, run.cfg.pretty_text)
        self._lock = lock
        self._log = open(run.log, 'a')
        self._environment = launcher.environment(slot)
        self._commands = launcher.commands(run)
        self._start_next()

    def poll(self) -> int | None:
        """Exit status of the run, None while it goes on."""
        status = self._child.poll()
        if status == 0 and self._commands:
            self._start_next()
            return None
        if status is not None:
            self._log.close()
            self._lock.close()
        return status

    def stop(self) -> None:
        self._child.terminate()
        self._child.wait()

    def _start_next(self) -> None:
        command = self._commands.pop(0)
        append_line(self.run.log, f'$ {shlex.join(command)}')
        # The child ends with the sweep, but for one that Slurm runs: it holds the lock as well.
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._environment,
            pass_fds=(self._lock.fileno(),),
        )


def run_all(
    runs: Sequence[Run], launcher: Launcher, say: Callable[[str], None] = print
) -> list[Run]:
    """Do what is left of ``runs``, several at a time, and go on after a failure.

    Args:
        runs: finished ones are skipped, and so are those that another process works on.
        launcher: says how.
        say: told one line per run that starts or ends, and the end of the log of one that fails.

    Returns:
        The runs that are not finished now.
    """
    waiting, active, left = list(runs), [], []
    total = len(waiting)
    free = list(range(launcher.max_parallel))
    try:
        while waiting or active:
            while waiting and free:
                run = waiting.pop(0)
                where = f'[{total - len(waiting)}/{total}] {run.name}'
                lock = claim(run)
                if is_finished(run):
                    say(f'{where}: finished before')
                elif lock is None:
                    say(f'{where}: left to another process, which works on it')
                    left.append(run)
                else:
                    for found in recover(run):
                        say(f'{where}: {found}')
                    process = Process(run, lock, launcher, free.pop(0))
                    say(f'{_clock()} {where}: started, log {run.log}')
                    active.append(process)
                    continue
                if lock is not None:
                    lock.close()
            for process in list(active):
                status = process.poll()
                if status is None:
                    continue
                active.remove(process)
                free.append(process.slot)
                run, took = process.run, _duration(time.monotonic() - process.started)
                if status == 0 and is_finished(run):
                    say(f'{_clock()} {run.name}: finished after {took}')
                else:
                    say(
                        f'{_clock()} {run.name}: FAILED (exit status {status}) after {took}; the '
                        f'end of {run.log}:\n'
                        f'{_tail(run.log)}'
                    )
                    left.append(run)
            time.sleep(POLL_SECONDS)
    finally:
        for process in active:
            process.stop()
    return left


def _clock() -> str:
    return time.strftime('%H:%M:%S')


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f'{hours} h {minutes} min'
        if hours
        else f'{minutes} min {seconds} s'
        if minutes
        else f'{seconds} s'
    )


def _tail(path: Path) -> str:
    lines = path.read_text(errors='replace').splitlines()
    return '\n'.join(f'    {line}' for line in lines[-LOG_LINES:])
