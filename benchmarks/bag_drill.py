"""Kill ``m2h-mm bag`` again and again, and compare what comes of it: ``python
benchmarks/bag_drill.py``.

A walk through a rendered room is written as a bag of ROS 1, and of ROS 2 as sqlite3 and mcap. Each
is given its maps once without disturbance, and once by a command that is killed (SIGKILL) whenever
it has some pictures more, and once while it writes the new bag. At no time may there be a bag that
is not complete; in the end both have to hold the same messages, to the last bit. Exits with 1 where
they do not. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import cv2

sys.path.append(str(Path(__file__).resolve().parents[1] / 'tests' / 'helpers'))
from small_bags import KINDS, SmallBag, name_of, read_all  # noqa: E402

from m2h_mm.rooms import Walk, WalkOptions  # noqa: E402

SECOND = 10**9
POLL = 0.01


def film(size: tuple[int, int], count: int) -> tuple[list, list[float]]:
    """Pictures of a walk, there and back, and K of their camera."""
    walk = Walk(0, 3, options=WalkOptions(num_frames=6))
    pictures = [cv2.resize(frame.image, size[::-1]) for frame in walk]
    scale = size[1] / 320
    matrix = walk.cam2img * [[scale], [scale], [1]]
    order = [*range(6), *range(4, 0, -1)]
    return [pictures[order[i % 10]] for i in range(count)], matrix.reshape(-1).tolist()


def write(path: Path, kind: str, pictures: list, matrix: list[float]) -> None:
    with SmallBag(path, kind) as bag:
        for number, picture in enumerate(pictures):
            now = 1000 * SECOND + number * SECOND // 10
            bag.image(now, picture)
            bag.info(now, K=matrix, size=picture.shape[:2])
            bag.text(now + 10, f'picture {number}')


def digest(path: Path) -> str:
    """Of all topics, times and contents."""
    whole = hashlib.sha256()
    for connection, now, content, _ in read_all(path):
        whole.update(f'{connection.topic} {now} '.encode() + content)
    return whole.hexdigest()


def done(part: Path) -> int:
    """Pictures whose maps are kept."""
    try:
        with sqlite3.connect(f'file:{part / "maps.db"}?mode=ro', uri=True) as file:
            return file.execute('SELECT COUNT(*) FROM frames').fetchone()[0]
    except sqlite3.Error:
        return 0


def start(source: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, '-m', 'm2h_mm', 'bag', source, out, '--device', 'cpu']
    return subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)


def kill_at(source: Path, out: Path, reached) -> bool:
    """Kill the command once ``reached()``; False if it ended before, or left a bag."""
    process = start(source, out)
    while not reached():
        if process.poll() is not None:
            print(f'{out}: it ended before it was killed')
            return False
        time.sleep(POLL)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return not out.exists()


def drill(folder: Path, kind: str, pictures: list, matrix: list[float]) -> bool:
    folder.mkdir(parents=True)
    source, whole, out = (folder / name_of(kind, name) for name in ('in', 'whole', 'out'))
    write(source, kind, pictures, matrix)
    before = digest(source)
    begun = time.monotonic()
    good = start(source, whole).wait() == 0
    seconds = time.monotonic() - begun
    part = out.with_name(out.name + '.part')
    for _ in range(2):
        wanted = done(part) + len(pictures) // 4
        good &= kill_at(source, out, lambda wanted=wanted: done(part) >= wanted)
        print(f'{kind}: killed, {done(part)} of {len(pictures)} pictures are kept', flush=True)
    good &= kill_at(source, out, lambda: (part / 'bag').exists() and any((part / 'bag').iterdir()))
    print(f'{kind}: killed while the bag is written, {done(part)} pictures are kept', flush=True)
    good &= start(source, out).wait() == 0 and not part.exists()
    equal = good and digest(whole) == digest(out)
    good &= equal and digest(source) == before
    said = 'bit-equal' if equal else 'DIFFERS'
    print(f'{kind}: {said}; undisturbed it took {seconds:.1f} s', flush=True)
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--work-dir', type=Path, default='work_dirs/bag_drill')
    parser.add_argument('--pictures', type=int, default=60)
    parser.add_argument('--size', default='240x320')
    parser.add_argument('--only', nargs='+', choices=KINDS, default=KINDS)
    args = parser.parse_args()
    size = tuple(int(side) for side in args.size.split('x'))
    shutil.rmtree(args.work_dir, ignore_errors=True)
    pictures, matrix = film(size, args.pictures)
    results = [drill(args.work_dir / kind, kind, pictures, matrix) for kind in args.only]
    sys.exit(not all(results))


if __name__ == '__main__':
    main()
