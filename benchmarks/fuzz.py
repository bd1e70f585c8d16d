"""Feed the readers of files and configs with what is damaged or hostile: ``python
benchmarks/fuzz.py``.

Good images, labels, lists, cameras, checkpoints, configs and ONNX files are made, mutated, and
given to the public functions that read them. Good is a refusal of this project that names the file
or the key, and a plausible result. All else is a finding: another exception, more than 5 s or
512 MiB (images: 1 GiB), the end of the process, a file outside of the sandbox, a program or a
connection. An input follows from its kind, ``--seed`` and its index alone. The file of a finding is
kept, with the command that repeats it. Exits with 1 if there are any. Linux only.
"""

import argparse
import faulthandler
import json
import logging
import multiprocessing
import os
import shlex
import shutil
import sys
import time
import warnings
import zlib
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_guard import (
    ACCEPTED,
    FINDING,
    REFUSED,
    Attempt,
    Canaries,
    Guard,
    Verdict,
    judge,
    limit_memory,
    use_temporary,
)
from rich.console import Console
from rich.table import Table

# Kind to its class and its share of the inputs; a config takes longer than an image.
KINDS = dict(
    images=('fuzz_data.Images', 0.25),
    labels=('fuzz_data.Labels', 0.25),
    lists=('fuzz_data.Lists', 0.1),
    cameras=('fuzz_data.Cameras', 0.1),
    checkpoints=('fuzz_checkpoints.Checkpoints', 0.15),
    configs=('fuzz_configs.Configs', 0.1),
    onnx=('fuzz_onnx.Onnx', 0.05),
)
WALL_SECONDS = 60  # of one input, others use the processor too
STARTED = 120


def build(kind: str, folder: Path) -> Any:
    """What makes the inputs of a kind."""
    module, _, name = KINDS[kind][0].partition('.')
    return getattr(import_module(module), name)(folder)


def make(maker: Any, kind: str, seed: int, index: int) -> Attempt:
    return maker.make(np.random.default_rng([seed, index, zlib.crc32(kind.encode())]))


class Results:
    """What was found, in a folder.

    Args:
        folder: where findings are kept.
        seed: of all inputs.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.counts = {kind: dict.fromkeys((REFUSED, ACCEPTED, FINDING), 0) for kind in KINDS}
        self.seconds = dict.fromkeys(KINDS, 0.0)

    def add(self, kind: str, index: int, verdict: Verdict, attempt: Attempt | None = None) -> None:
        """Count a verdict, and keep a finding with its files."""
        self.counts[kind][verdict.outcome] += 1
        if verdict.outcome != FINDING:
            return
        kept = self.folder / kind / str(index)
        kept.mkdir(parents=True, exist_ok=True)
        command = f'python benchmarks/fuzz.py --seed {self.seed} --kind {kind} --only {index}'
        note = f'\n{attempt.note}' if attempt and attempt.note else ''
        (kept / 'finding.txt').write_text(
            f'{command}\n{verdict.call}: {verdict.text}{note}\n', errors='backslashreplace'
        )
        for file in attempt.files if attempt else ():
            if file.is_file():
                shutil.copyfile(file, kept / file.name)

    def table(self) -> Table:
        title = f'Mutated files, seed {self.seed}'
        table = Table('kind', 'inputs', 'refused', 'accepted', 'findings', 'seconds', title=title)
        rows = [(kind, found, self.seconds[kind]) for kind, found in self.counts.items()]
        total = {
            key: sum(found[key] for _, found, _ in rows) for key in (REFUSED, ACCEPTED, FINDING)
        }
        for kind, found, seconds in (*rows, ('all', total, sum(self.seconds.values()))):
            numbers = (sum(found.values()), *found.values(), round(seconds))
            table.add_row(kind, *map(str, numbers))
        return table


def attack(kind: str, folder: Path, results: Results, indices: range) -> None:
    """Try inputs in this process, without limits of memory."""
    (folder / 'in').mkdir(parents=True, exist_ok=True)
    canaries, guard = Canaries(folder / 'outside'), Guard(folder / 'in').install()
    maker = build(kind, folder / 'in')
    start = time.monotonic()
    for index in indices:
        attempt = make(maker, kind, results.seed, index)
        results.add(kind, index, judge(attempt, guard, canaries), attempt)
    results.seconds[kind] += time.monotonic() - start


def _child(kind: str, seed: int, first: int, folder: Path, pipe: Connection) -> None:
    """Try one input after the other until killed."""
    crash = open(folder / 'crash.txt', 'w')  # for the life of the process
    faulthandler.enable(crash, all_threads=False)
    use_temporary(folder / 'in' / 'temporary')
    os.chdir(folder / 'in')
    logging.disable(logging.CRITICAL)
    warnings.simplefilter('ignore')
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream, place in ((1, silence), (2, crash.fileno())):  # native code talks too
        os.dup2(place, stream)
    canaries, guard = Canaries(folder / 'outside'), Guard(folder / 'in').install()
    maker = build(kind, folder / 'in')
    limit_memory()
    index = first
    pipe.send((None, None, None))
    while True:
        attempt = make(maker, kind, seed, index)
        known = Attempt({}, attempt.names, attempt.files, attempt.note)
        pipe.send((index, None, known))
        pipe.send((index, judge(attempt, guard, canaries), known))
        index += 1


class Child:
    """The process that tries the inputs of a kind from an index on; another takes its place where
    it ends.
    """

    def __init__(self, kind: str, seed: int, first: int, folder: Path) -> None:
        (folder / 'in').mkdir(parents=True, exist_ok=True)
        self.folder, self.index = folder, first
        context = multiprocessing.get_context('spawn')
        self.pipe, other = context.Pipe()
        self.process = context.Process(
            target=_child, args=(kind, seed, first, folder, other), daemon=True
        )
        self.process.start()
        other.close()
        try:
            started = self.pipe.poll(STARTED) and self.pipe.recv()
        except EOFError:
            started = None
        if not started:
            self.end()
            raise RuntimeError(f'{kind}: no start\n{(folder / "crash.txt").read_text()}')

    def next(self) -> tuple[Verdict, Attempt | None]:
        """What became of the next input; where the process has ended, that is the finding."""
        attempt = None
        try:
            while self.pipe.poll(WALL_SECONDS):
                self.index, verdict, attempt = self.pipe.recv()
                if verdict is not None:
                    return verdict, attempt
            text = f'no answer within {WALL_SECONDS} s'
        except EOFError:
            self.process.join()
            text = f'the process ended with {self.process.exitcode}\n'
            text += (self.folder / 'crash.txt').read_text()
        self.end()
        return Verdict(FINDING, text=text), attempt

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def run(kind: str, folder: Path, results: Results, count: int, first: int, until: float) -> None:
    """Try ``count`` inputs, or as many as there is time for."""
    start, child, index = time.monotonic(), None, first
    while index < first + count and time.monotonic() < until:
        if child is None or not child.process.is_alive():
            child = Child(kind, results.seed, index, folder)
        verdict, attempt = child.next()
        results.add(kind, index, verdict, attempt)
        index += 1
    if child is not None:
        child.end()
    results.seconds[kind] += time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--seed', type=int, default=0, help='(%(default)s)')
    parser.add_argument('--count', type=int, default=10000, help='of inputs (%(default)s)')
    parser.add_argument('--seconds', type=float, default=3600, help='at most (%(default)s)')
    parser.add_argument('--kind', nargs='+', choices=KINDS, default=list(KINDS), help='(all)')
    parser.add_argument('--only', type=int, metavar='INDEX', help='of one input of one kind')
    parser.add_argument('--work-dir', type=Path, default='work_dirs/fuzz', help='(%(default)s)')
    args = parser.parse_args()
    folder = args.work_dir.resolve()
    results = Results(folder / 'findings', args.seed)
    until = time.monotonic() + args.seconds
    whole = sum(KINDS[kind][1] for kind in args.kind)
    for kind in args.kind:
        count, first = round(args.count * KINDS[kind][1] / whole), 0
        if args.only is not None:
            count, first = 1, args.only
        run(kind, folder / kind, results, count, first, until)
        print(kind, json.dumps(results.counts[kind]), flush=True)
    Console().print(results.table())
    found = sorted(results.folder.glob('*/*/finding.txt')) if results.folder.is_dir() else []
    for file in found[:40]:
        print(f'{shlex.quote(str(file))}\n  {file.read_text().splitlines()[1][:300]}')
    sys.exit(any(each[FINDING] for each in results.counts.values()))


if __name__ == '__main__':
    main()
