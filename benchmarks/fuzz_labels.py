"""Mutated label and prediction files: each is read, or refused by its name; nothing crashes.

    python benchmarks/fuzz_labels.py [--files 10000] [--seed 0]

Every file goes through the reader of headers and the readers and looks of all tasks. A file on
which something else is raised than a ValueError that names it, or that takes longer than a second,
is kept in work_dirs/fuzz_labels. Of 10,000 files of seed 0 there is none.
"""

import argparse
import io
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import scipy.io
from PIL import Image

from m2h_mm.tasks import Task, build_tasks
from m2h_mm.tasks.files import array_size, read_array

TASKS = dict.fromkeys(
    ['depth', 'disparity', 'normals', 'edge', 'saliency', 'human_parts', 'semseg']
)
SLOW = 1.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--files', type=int, default=10000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    chance, seeds = random.Random(args.seed), seed_files()
    readers = [array_size, read_array]
    for task in build_tasks(TASKS).values():
        readers += [look_of(task), task.read_prediction]
    folder = Path('work_dirs/fuzz_labels')
    folder.mkdir(parents=True, exist_ok=True)
    found = 0
    for number in range(args.files):
        suffix = chance.choice(list(seeds))
        data = mutated(chance.choice(seeds[suffix]), chance)
        path = folder / f'{args.seed}_{number}{suffix if chance.random() < 0.97 else ".npy"}'
        path.write_bytes(data)
        wrong = [text for reader in readers if (text := fault(reader, path))]
        if wrong:
            found += 1
            print(f'{path}: {wrong[0]}')
        else:
            path.unlink()
    print(f'{args.files} files, {found} with a fault')
    return int(found > 0)


def fault(reader: Callable[[Path], object], path: Path) -> str:
    """What is wrong about how a reader takes a file; nothing if it reads or refuses it."""
    start = time.perf_counter()
    try:
        reader(path)
    except ValueError as error:
        if str(path) not in str(error):
            return f'{reader}: a message without the file: {error}'
    except BaseException as error:
        return f'{reader}: {error!r}'
    seconds = time.perf_counter() - start
    return f'{reader}: {seconds:.1f} s' if seconds > SLOW else ''


def look_of(task: Task) -> Callable[[Path], object]:
    """Reads a label and looks at it."""
    return lambda path: list(task.inspect(path, task.read(path)))


def seed_files() -> dict[str, list[bytes]]:
    """By suffix, intact files of all kinds."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 40, (24, 32)).astype(np.uint8)
    colours = rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)
    palette = Image.fromarray(ids, 'P')
    palette.putpalette(list(range(256)) * 3)
    return {
        '.npy': [
            _bytes(np.save, array)
            for array in (ids, ids.astype(np.float32), colours.astype(np.float16))
        ],
        '.mat': [
            _bytes(lambda file, array, o=options: scipy.io.savemat(file, dict(a=array), **o), ids)
            for options in ({}, dict(do_compression=True), dict(format='4'))
        ],
        '.png': [
            cv2.imencode('.png', array)[1].tobytes()
            for array in (ids, ids.astype(np.uint16) * 900, colours, np.dstack([ids] * 4))
        ]
        + [_bytes(lambda file, image: image.save(file, 'PNG'), palette)],
        '.jpg': [cv2.imencode('.jpg', colours)[1].tobytes()],
    }


def _bytes(write: Callable, content: object) -> bytes:
    buffer = io.BytesIO()
    write(buffer, content)
    return buffer.getvalue()


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """Some bytes set, left out, put in, copied or cut off; most of them in the header."""
    data = bytearray(whole)
    for _ in range(chance.choice([0, 1, 1, 2, 5, 20])):
        if not data:
            break
        place = chance.randrange(min(len(data), chance.choice([64, 200, len(data)])))
        what = chance.random()
        if what < 0.5:
            data[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        elif what < 0.6:
            del data[place : place + chance.randrange(1, 40)]
        elif what < 0.7:
            data[place:place] = chance.randbytes(chance.randrange(1, 20))
        elif what < 0.8:
            del data[place:]
        elif what < 0.9:
            other = chance.randrange(len(data))
            data[place : place + 8] = data[other : other + 8]
        else:
            data[place : place + 4] = bytes([chance.choice([0, 127, 255])] * 4)
    return bytes(data)


if __name__ == '__main__':
    raise SystemExit(main())
