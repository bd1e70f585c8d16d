"""Rendered rooms on disk, in the layout of NYUD-MT.

One process renders at a time (a lock that the system drops when its owner dies); it hands frame
numbers to worker processes and keeps a journal of finished frames, so that a killed run goes on
where it stopped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from mmengine.logging import print_log
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from m2h_mm.rooms.render import RoomFrame, render_frame
from m2h_mm.rooms.styles import find_style
from m2h_mm.system import available_cores, remove_temporaries, write_atomically
from m2h_mm.system.files import append_line
from m2h_mm.system.locks import acquire
from m2h_mm.system.text import read_json

GENERATOR_VERSIONS = dict(plain=1, varied=2)
"""Part of the folder's name: raise a style's whenever its frame of a (seed, index) changes."""
VAL_START = 1_000_000
"""Validation frames have indices from here on, so that no split ever shares a room with the other.
"""
FOLDERS = ('images', 'segmentation', 'depth', 'normals', 'edge')
_MARKER, _JOURNAL = 'rooms.json', 'finished.jsonl'


def rooms_folder(
    root: str | Path,
    num_train: int,
    num_val: int,
    size: Sequence[int],
    seed: int,
    style: str = 'plain',
) -> Path:
    """The folder below ``root`` that is for these parameters and this generator alone.

    Raises:
        ValueError: there is no such style.
    """
    find_style(style)
    height, width = size
    # The name is that of the time when there was one style.
    named = '' if style == 'plain' else f'_{style}'
    return Path(root) / (
        f'v{GENERATOR_VERSIONS[style]}{named}_seed{seed}_{height}x{width}'
        f'_train{num_train}_val{num_val}'
    )


def frame_id(index: int) -> str:
    """File stem of frame ``index``."""
    return f'{index:07d}'


def ensure_rooms(
    root: str | Path,
    num_train: int,
    num_val: int,
    size: Sequence[int] = (240, 320),
    seed: int = 0,
    num_workers: int | None = None,
    style: str = 'plain',
) -> Path:
    """Render what is missing of a data set of rooms, and return its folder.

    Any number of processes may call this at once: one renders, the others wait and find the frames
    ready.

    Args:
        root: parent of the data sets; each combination of parameters has a folder of its own in it.
        num_train, num_val: number of frames per split, each a room of its own.
        size: (H, W) of the frames in pixels.
        seed: of all frames.
        num_workers: processes; None for one per available core, 0 to render in this process.
        style: of the rooms, ``'plain'`` or ``'varied'``.

    Raises:
        ValueError: parameters that cannot be, or a folder that holds other parameters than its name
            says.
        PermissionError: the folder cannot be written to and is not complete.
        OSError: the disk is full. Finished frames are kept.
    """
    height, width = size
    if not (0 < num_train <= VAL_START and num_val >= 0 and min(height, width) >= 16 and seed >= 0):
        raise ValueError(
            f'num_train={num_train}, num_val={num_val}, size={tuple(size)}, seed={seed}: '
            f'expected 1..{VAL_START} training frames, no negative number or seed, and at least '
            '16 x 16 pixels.'
        )
    folder = rooms_folder(root, num_train, num_val, size, seed, style)
    parameters = dict(
        version=GENERATOR_VERSIONS[style],
        seed=seed,
        size=[height, width],
        num_train=num_train,
        num_val=num_val,
        **({} if style == 'plain' else dict(style=style)),
    )
    if _is_complete(folder, parameters):
        return folder
    try:
        for name in (*FOLDERS, 'gt_sets'):
            (folder / name).mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if not _is_complete(folder, parameters):
                _complete(
                    folder, parameters, available_cores() if num_workers is None else num_workers
                )
    except PermissionError as error:
        raise PermissionError(
            f'data_root: cannot write the rendered rooms to {folder} ({error}). Make it '
            'writable, or set data_root to a folder that is.'
        ) from error
    return folder


def write_frame(folder: Path, index: int, frame: RoomFrame) -> None:
    """Write a frame's five files; each appears whole or not at all.

    Raises:
        OSError: see :func:`~m2h_mm.system.files.write_atomically`.

    ``images`` RGB; ``segmentation`` 1..40; ``depth`` uint16 millimetres; ``normals`` ``round((n +
    1) / 2 * 255)``; ``edge`` 0 or 255.
    """
    arrays = dict(
        images=frame.image[..., ::-1],
        segmentation=frame.semseg,
        depth=np.round(frame.depth * 1000).clip(0, 65535).astype(np.uint16),
        normals=np.round((frame.normals[..., ::-1] + 1) * 127.5).astype(np.uint8),
        edge=frame.edge * 255,
    )
    for name, array in arrays.items():
        # Level 1 halves the size of labels, but images it makes larger and slower to read.
        parameters = [] if name == 'images' else [cv2.IMWRITE_PNG_COMPRESSION, 1]
        data = cv2.imencode('.png', np.ascontiguousarray(array), parameters)[1].tobytes()
        write_atomically(folder / name / f'{frame_id(index)}.png', data)


def render_to(
    folder: Path, style: str, seed: int, index: int, height: int, width: int
) -> list[float]:
    """Render a frame, write its files, and return its camera (fx, fy, cx, cy)."""
    frame = render_frame(seed, index, height, width, style)
    write_frame(folder, index, frame)
    return [float(frame.cam2img[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))]


def _is_complete(folder: Path, parameters: dict) -> bool:
    path = folder / _MARKER
    if not path.is_file() or not path.stat().st_size:
        return False
    found = read_json(path, 'what was rendered: delete its folder, it will be rendered anew')
    if found != parameters:
        raise ValueError(
            f'{path} says {found}, but its folder stands for {parameters}. The folder was '
            'renamed or changed by hand: delete it, it will be rendered anew.'
        )
    # Older versions believed a full disk, and a power cut empties files that were written.
    return len(_whole_frames(folder)) >= parameters['num_train'] + parameters['num_val']


def _whole_frames(folder: Path) -> set[str]:
    """Names of the frames of which every file is there, and none is empty.

    A whole folder may be missing: who needs no normals may have deleted them.
    """
    return set.intersection(
        *(
            {
                entry.name.removesuffix('.png')
                for entry in os.scandir(folder / name)
                if entry.name.endswith('.png') and entry.stat().st_size
            }
            for name in FOLDERS
            if (folder / name).is_dir()
        )
    )


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = acquire(folder)
    if lock is None:
        print_log(f'Waiting for the process that renders rooms to {folder}.', 'current')
        lock = acquire(folder, wait=True)
    with lock:
        yield


def _complete(folder: Path, parameters: dict, num_workers: int) -> None:
    splits = dict(
        train=range(parameters['num_train']),
        val=range(VAL_START, VAL_START + parameters['num_val']),
    )
    cameras = _read_journal(folder)
    missing = [
        index for indices in splits.values() for index in indices if frame_id(index) not in cameras
    ]
    total = parameters['num_train'] + parameters['num_val']
    num_workers = min(num_workers, len(missing))
    print_log(
        f'Rendering {len(missing)} of {total} rooms to {folder} with {num_workers or 1} processes.',
        'current',
    )
    columns = (TextColumn('rooms'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    journal = folder / _JOURNAL
    with Progress(*columns) as progress:
        bar = progress.add_task('rooms', total=total, completed=total - len(missing))

        guard = Lock()

        def finished(index: int, camera: list[float]) -> None:
            with guard:
                cameras[frame_id(index)] = camera
                append_line(journal, json.dumps([frame_id(index), camera]))
                progress.advance(bar)

        job = (parameters.get('style', 'plain'), parameters['seed'], *parameters['size'])
        if num_workers:
            _render_in_processes(folder, job, missing, num_workers, finished)
        else:
            for index in missing:
                finished(index, render_to(folder, *job[:2], index, *job[2:]))
    for split, indices in splits.items():
        write_atomically(
            folder / 'gt_sets' / f'{split}.txt',
            ''.join(f'{frame_id(index)}\n' for index in indices),
        )
    write_atomically(folder / 'cameras.json', json.dumps(dict(sorted(cameras.items()))))
    write_atomically(folder / _MARKER, json.dumps(parameters))
    journal.unlink(missing_ok=True)
    for name in FOLDERS:
        remove_temporaries(folder / name, '*.png')


def _read_journal(folder: Path) -> dict[str, list[float]]:
    """Cameras of the frames that an earlier run finished."""
    path, cameras, there = folder / _JOURNAL, {}, _whole_frames(folder)
    listed = folder / 'cameras.json'  # of a data set that was complete once
    if listed.is_file() and listed.stat().st_size:
        cameras = {
            name: camera for name, camera in json.loads(listed.read_text()).items() if name in there
        }
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    whole = [line for line in lines if line.endswith(']]\n')]
    for line in whole:
        name, camera = json.loads(line)
        if name in there:
            cameras[name] = camera
    if len(whole) < len(lines):
        write_atomically(path, ''.join(whole))
    return cameras


def _render_in_processes(
    folder: Path,
    job: tuple[str, int, int, int],
    missing: list[int],
    num_workers: int,
    finished: Callable[[int, list[float]], None],
) -> None:
    """Render ``missing`` frames in worker processes that are fed through pipes.

    Plain subprocesses instead of multiprocessing: they never import the caller's ``__main__``, are
    allowed in daemonic processes such as data loader workers, inherit no threads or locks, and end
    when their pipe does.
    """
    environment = {
        **os.environ,
        'OMP_NUM_THREADS': '1',
        'OPENBLAS_NUM_THREADS': '1',
        'PYTHONPATH': os.pathsep.join(path or os.getcwd() for path in sys.path),
    }
    numbers = map(str, (os.getpid(), *job))
    command = [sys.executable, '-m', f'{__package__}.worker', str(folder), *numbers]
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
                            answer['errno'], f'{answer["reason"]} Finished frames are kept.'
                        )
                    finished(index, answer)
            except BrokenPipeError as error:
                raise RuntimeError(
                    f'The process that rendered room {index} to {folder} ended with code '
                    f'{worker.wait()}; what it said is above. Finished frames are kept.'
                ) from error
            finally:
                missing.clear()  # After a failure the other threads find nothing more to do.

    with ThreadPoolExecutor(num_workers) as pool:
        try:
            list(pool.map(work, range(num_workers)))
        finally:
            missing.clear()
