"""Kill programs that have workers, look for orphans, and compare what comes of them in the end:
``python benchmarks/kill_drills.py``.

A converter, the renderer of rooms, a sweep and torchrun are started on made data and killed in the
middle of their work, the first process alone, by SIGKILL and by SIGTERM. After ten seconds none of
the processes that they started may be left. Then the same command is run again, as often as it was
killed and once to its end: files and weights have to be those of a run that was left alone, to the
last bit. Exits with 1 where they are not. Linux only.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from fault_drill import RESULT, same
from rich.console import Console
from rich.table import Table

from m2h_mm.engine.checkpoints import read_checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]
ALLOWED_SECONDS, POLL = 10, 0.02
TOY = """
_base_ = '{repository}/tests/data/toy_m2h.py'
rooms = dict(data_root='{data}', num_train=20, num_val=2, size=(30, 44), num_workers=0)
train_dataloader = dict(num_workers=1, persistent_workers=True, dataset=rooms)
val_dataloader = dict(dataset=rooms)
test_dataloader = dict(dataset=rooms)
train_cfg = dict(max_iters={iters}, val_interval={iters})
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=5), visualization=dict(num_frames=0))
"""
SPEC = """
base = 'toy.py'
variants = dict(
    wmca=dict(),
    none=dict(model=dict(decoder=dict(interaction=dict(_delete_=True, type='NoInteraction')))))
seeds = [0]
max_iters = 20
"""


@dataclass
class Drill:
    """A program to kill.

    Args:
        name: as it is shown.
        command: of the program that writes to a folder.
        progress: how far it has come there, a number that grows.
        result: all of what it leaves in the end, to be compared.
    """

    name: str
    command: Callable[[Path], list[object]]
    progress: Callable[[Path], int]
    result: Callable[[Path], object] | None


def tool(name: str, *arguments: object) -> list[object]:
    return [sys.executable, '-m', 'm2h_mm', name, *arguments]


def files(folder: Path) -> dict[str, str]:
    """Digests of all files."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.name != '.lock'
    }


def runs(folder: Path) -> dict[str, object]:
    """Scores of the runs of a sweep, and what their last checkpoints hold."""
    found = {}
    for results in sorted(folder.glob('*/*/results.json')):
        last = read_checkpoint(results.parent / 'training' / 'iter_20.pth')
        scores = json.loads(results.read_text())['metrics']
        name = str(results.parent.relative_to(folder))
        found[name] = dict(scores=scores, **{key: last[key] for key in RESULT if key in last})
    return found


def make_cityscapes(root: Path, frames: int) -> None:
    """Noise in the layout of the official download."""
    rng = np.random.default_rng(0)
    ids = np.array([7, 8, 11, 21, 23, 26], np.uint8)
    for index in range(frames):
        split, name = 'val' if index % 5 == 4 else 'train', f'a_{index:06d}_000019'
        labels = np.kron(ids[rng.integers(0, 6, (32, 64))], np.ones((16, 16), np.uint8))
        contents = {
            'leftImg8bit/{}/a/{}_leftImg8bit.png': rng.integers(0, 255, (512, 1024, 3), np.uint8),
            'gtFine/{}/a/{}_gtFine_labelIds.png': labels,
            'gtFine/{}/a/{}_gtFine_instanceIds.png': labels.astype(np.uint16),
            'disparity/{}/a/{}_disparity.png': np.full((512, 1024), 5000 + index, np.uint16),
        }
        for pattern, array in contents.items():
            path = root / pattern.format(split, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), array, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        camera = dict(fx=1000, fy=1000, u0=512, v0=256)
        path = root / 'camera' / split / 'a' / f'{name}_camera.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(intrinsic=camera, extrinsic=dict(baseline=0.2))))


def prepare(folder: Path) -> list[Drill]:
    make_cityscapes(folder / 'cityscapes', 40)
    toy = TOY.format(repository=REPOSITORY, data=folder / 'rooms', iters=400)
    (folder / 'toy.py').write_text(toy)
    (folder / 'spec.py').write_text(SPEC)
    render = 'import sys; from m2h_mm.rooms import ensure_rooms; ensure_rooms(sys.argv[1], 24, 2)'
    torchrun = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', 2]
    train = [REPOSITORY / 'tools' / 'train.py', folder / 'toy.py', '--launcher', 'pytorch']

    def count(pattern: str) -> Callable[[Path], int]:
        return lambda out: len(list(out.glob(pattern)))

    def iterations(out: Path) -> int:
        return sum(path.read_text().count('\n') for path in out.glob('*/vis_data/scalars.json'))

    def sweep(out: Path) -> list[object]:
        spec = [folder / 'spec.py', '--work-dir', out, '--repeats', 0, '--max-parallel', 2]
        return tool('ablate', *spec)

    def convert(out: Path) -> list[object]:
        source = ['cityscapes', folder / 'cityscapes', '--size', 256, 512, '--num-workers', 2]
        return tool('convert-data', *source, '--out-dir', out)

    return [
        Drill('converter', convert, count('images/*'), files),
        Drill('rooms', lambda out: [sys.executable, '-c', render, out], count('*/images/*'), files),
        Drill('sweep', sweep, count('*/*/training/iter_*'), runs),
        Drill(
            'torchrun',
            lambda out: [sys.executable, *torchrun, *train, '--work-dir', out, '--resume'],
            iterations,
            None,
        ),
    ]


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have."""
    parents = {}
    for path in Path('/proc').iterdir():
        if path.name.isdecimal():
            try:
                parents[int(path.name)] = int(
                    (path / 'stat').read_text().rsplit(')', 1)[1].split()[1]
                )
            except OSError:  # it has ended meanwhile
                continue
    found, new = [], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def start(drill: Drill, out: Path) -> subprocess.Popen:
    with open(out.with_name(f'{out.name}.txt'), 'a') as said:
        return subprocess.Popen(
            list(map(str, drill.command(out))),
            stdout=said,
            stderr=said,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'},
        )


def kill(drill: Drill, out: Path, how: signal.Signals, steps: int) -> tuple[int, float, int]:
    """Kill the program when it has got some steps further.

    Returns:
        How many processes it had, seconds until the last of them had ended, and how many had not
        after the time that is allowed.
    """
    before = drill.progress(out)
    process = start(drill, out)
    while drill.progress(out) < before + steps:
        if process.poll() is not None:
            raise RuntimeError(f'{drill.name} ended before it was killed; see {out}.txt')
        time.sleep(POLL)
    workers = descendants(process.pid)
    killed = time.monotonic()
    process.send_signal(how)
    process.wait()
    while (left := list(filter(is_alive, workers))) and time.monotonic() < killed + ALLOWED_SECONDS:
        time.sleep(POLL)
    took = time.monotonic() - killed
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return len(workers), took, len(left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--work-dir', type=Path, default='work_dirs/kill_drills', help='made anew (%(default)s)'
    )
    parser.add_argument('--only', nargs='+', metavar='PROGRAM', help='of those that are killed')
    args = parser.parse_args()
    folder = args.work_dir.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table, good = Table(title='Kills of the first process'), True
    for name in ('program', 'signal', 'processes', 'the last ended after', 'left', 'result'):
        table.add_column(name)
    for drill in prepare(folder):
        if args.only and drill.name not in args.only:
            continue
        whole, out = folder / f'{drill.name}_whole', folder / drill.name
        if drill.result and start(drill, whole).wait():
            sys.exit(whole.with_name(f'{whole.name}.txt').read_text())
        rows = []
        for how in (signal.SIGKILL, signal.SIGTERM):
            rows.append((how.name, *kill(drill, out, how, steps=2)))
        equal = None
        if drill.result:
            ended = start(drill, out).wait()
            equal = not ended and same(drill.result(whole), drill.result(out))
        said = {None: 'not compared', True: 'bit-equal', False: 'DIFFERS'}[equal]
        for how, workers, took, left in rows:
            table.add_row(drill.name, how, str(workers), f'{took:.1f} s', str(left), said)
            good &= not left and workers > 0
        good &= equal is not False
    Console().print(table)
    sys.exit(not good)


if __name__ == '__main__':
    main()
