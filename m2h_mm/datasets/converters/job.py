"""Converting a data set frame by frame: in parallel, resumable, and never half a file."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from m2h_mm.datasets.files import index_folder
from m2h_mm.geometry.pinhole import check_camera
from m2h_mm.registry import TASKS
from m2h_mm.structures.image_file import IMAGE_SUFFIXES
from m2h_mm.system import available_cores, remove_temporaries, write_atomically
from m2h_mm.system.locks import exclusive
from m2h_mm.system.paths import path_inside
from m2h_mm.system.processes import end_with_parent
from m2h_mm.system.progress import progress_bar
from m2h_mm.system.text import read_json
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.files import write_array

IMAGES = 'images'
_MARKER = 'converter.json'
_NAMED = 10

Files = Mapping[str, 'np.ndarray | Path']
"""What a frame becomes: folder (``images``, ``depth``, ...) to the array that its file holds, uint8
or uint16 for a ``.png`` and anything else for an ``.npy``; or to a source file that is copied as it
is.
"""


@dataclass(frozen=True)
class SourceFrame:
    """A frame to convert.

    Attributes:
        frame_id: stem of its files.
        split: the list in ``gt_sets`` that it belongs to.
        source: whatever the converter needs to find it: paths, an index. Has to be picklable.
        camera: (fx, fy, cx, cy) of the converted frame in pixels, or None where it is not known.
    """

    frame_id: str
    split: str
    source: Any
    camera: tuple[float, float, float, float] | None = None


def convert_frames(
    frames: Sequence[SourceFrame],
    convert: Callable[[Any], Files],
    out_dir: str | Path,
    source_root: str | Path,
    settings: Mapping[str, Any],
    num_workers: int | None = None,
    allow_missing: bool = False,
) -> None:
    """Write the files of all frames, then ``gt_sets/<split>.txt`` and ``cameras.json``.

    A frame is done once its image is there, which is written last. The same call goes on after an
    interruption and does not repeat finished frames. ``converter.json`` in ``out_dir`` keeps
    ``settings``; other settings need another folder. The lists of the splits appear when every
    frame is there, so that an incomplete data set cannot be trained on by accident.

    Args:
        frames: all frames, their ids unique.
        convert: ``frame.source`` to its files. Runs in other processes: a function of a module, or
            a ``partial`` of one. A ValueError or OSError that it raises, which has to name the
            source file, fails that frame alone.
        out_dir: the folder to make.
        source_root: file or folder of the official download; nothing is ever written below it.
        settings: all that the files depend on, as JSON.
        num_workers: processes; None for one per available core, 0 for none but this.
        allow_missing: list what could be converted although some frames could not.

    Raises:
        ValueError: no frames, an id twice, one that leaves ``out_dir``, a camera that cannot be;
            ``out_dir`` inside the source, with other settings or of
            other origin, or in use by another process; or frames that could not be converted, after
            all others were.
    """
    out_dir, source_root = Path(out_dir), Path(source_root)
    _check_frames(frames, out_dir)
    if source_root.is_dir() and source_root.resolve() in (
        out_dir.resolve(),
        *out_dir.resolve().parents,
    ):
        raise ValueError(
            f'--out-dir: {out_dir} lies in {source_root}, the official download, which is only '
            'read. Choose a folder outside it.'
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    busy = f'--out-dir: another process converts to {out_dir}. Wait for it, or end it.'
    with exclusive(out_dir, busy):
        if _goes_on(out_dir, dict(settings)):
            for folder in filter(Path.is_dir, out_dir.iterdir()):
                remove_temporaries(folder, '*')
        done = _finished(out_dir)
        missing = [frame for frame in frames if frame.frame_id not in done]
        failed = _convert(
            missing,
            len(frames),
            partial(_convert_frame, convert, out_dir),
            available_cores() if num_workers is None else num_workers,
        )
        if failed and not allow_missing:
            raise ValueError(
                f'{_list_failed(failed)}\nThe other {len(frames) - len(failed)} of '
                f'{len(frames)} frames '
                f'are in {out_dir}. Restore the files and run the same command again, '
                'it converts what is '
                'missing; or add --allow-missing to go on without these frames.'
            )
        _write_lists(out_dir, [frame for frame in frames if frame.frame_id not in failed])
    if failed:
        print(f'{_list_failed(failed)}\nLeft out.')
    print(
        f'{len(frames) - len(failed)} frames, {len(missing) - len(failed)} of them converted '
        f'now, in {out_dir.resolve()}'
    )


def _finished(out_dir: Path) -> set[str]:
    """Ids of the frames whose image is there, unless one of their files is empty: so a power cut
    leaves what was written before it.
    """
    images = out_dir / IMAGES
    if not images.is_dir():
        return set()
    empty = {
        path.relative_to(folder).with_suffix('').as_posix()
        for folder in out_dir.iterdir()
        for path in folder.rglob('*.*')
        if not path.stat().st_size
    }
    return set(index_folder(images, IMAGE_SUFFIXES)) - empty


def _check_frames(frames: Sequence[SourceFrame], out_dir: Path) -> None:
    if not frames:
        raise ValueError('There are no frames to convert.')
    seen: set[str] = set()
    for frame in frames:
        if frame.frame_id in seen:
            raise ValueError(f'Frame id {frame.frame_id!r} occurs twice.')
        seen.add(frame.frame_id)
        path_inside(out_dir / IMAGES, frame.frame_id)
        path_inside(out_dir / 'gt_sets', f'{frame.split}.txt')
        if frame.camera is not None:
            try:
                check_camera(*frame.camera)
            except ValueError as error:
                raise ValueError(f'Frame {frame.frame_id!r}: {error}') from None


def _goes_on(out_dir: Path, settings: dict) -> bool:
    """Whether the folder was made by such a conversion before; if not, it is marked as one."""
    marker = out_dir / _MARKER
    settings = json.loads(json.dumps(settings))
    if not marker.is_file():
        labels = {task.folder for task in build_tasks(tuple(TASKS.module_dict)).values()}
        names = (IMAGES, *sorted(labels - {IMAGES}), 'gt_sets', 'cameras.json')
        theirs = [name for name in names if (out_dir / name).exists()]
        if theirs:
            raise ValueError(
                f'--out-dir: {out_dir} has {", ".join(theirs)} already, and no {_MARKER}: it was '
                'made by something else. Choose another folder.'
            )
        write_atomically(marker, json.dumps(settings, indent=2))
        return False
    found = read_json(
        marker, 'the settings of a conversion: convert to another folder, or delete this one'
    )
    differing = [
        f'{key} = {found.get(key)!r}, now {settings.get(key)!r}'
        for key in sorted({*found, *settings})
        if found.get(key) != settings.get(key)
    ]
    if differing:
        raise ValueError(
            f'--out-dir: {out_dir} was converted with other settings ({"; ".join(differing)}). '
            'Choose another folder, or delete that one.'
        )
    return True


def _convert(
    missing: Sequence[SourceFrame],
    total: int,
    work: Callable[[SourceFrame], str | None],
    num_workers: int,
) -> dict[str, str]:
    """Frame id to the reason, for the frames that could not be converted."""
    failed: dict[str, str] = {}
    with progress_bar('Converting') as progress:
        bar = progress.add_task('', total=total, completed=total - len(missing))
        with closing(_results(missing, work, min(num_workers, len(missing)))) as results:
            for frame, reason in zip(missing, results, strict=True):
                if reason is not None:
                    failed[frame.frame_id] = reason
                progress.advance(bar)
    return failed


def _results(
    missing: Sequence[SourceFrame], work: Callable[[SourceFrame], str | None], num_workers: int
) -> Iterator[str | None]:
    if not num_workers:
        yield from map(work, missing)
        return
    # Processes of their own make: a fork would inherit the locks of OpenCV's and HDF5's threads.
    pool = ProcessPoolExecutor(num_workers, get_context('spawn'), _start_worker, (os.getpid(),))
    try:
        yield from pool.map(work, missing)
    except BrokenProcessPool as error:
        raise RuntimeError(
            'A process that converted frames was ended from outside, as a rule because memory '
            'ran out. Finished frames are kept: try again, with fewer --num-workers.'
        ) from error
    except OSError as error:  # of what a worker wrote; it has said which file and why
        raise OSError(error.errno, f'{error.strerror} Finished frames are kept.') from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(parent: int) -> None:
    end_with_parent(parent)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the first process, which ends the others.
    cv2.setNumThreads(0)


def _convert_frame(
    convert: Callable[[Any], Files], out_dir: Path, frame: SourceFrame
) -> str | None:
    """Write a frame's files, the image last; the reason if its source cannot be read."""
    try:
        files = {
            folder: (content.suffix, content.read_bytes()) if isinstance(content, Path) else content
            for folder, content in convert(frame.source).items()
        }
    except (ValueError, OSError) as error:
        return str(error)
    for folder in sorted(files, key=lambda folder: folder == IMAGES):
        content = files[folder]
        if isinstance(content, tuple):
            suffix, data = content
            write_atomically(out_dir / folder / f'{frame.frame_id}{suffix}', data)
        else:
            suffix = '.png' if content.dtype in (np.uint8, np.uint16) else '.npy'
            write_array(content, out_dir / folder / f'{frame.frame_id}{suffix}')
    return None


def _write_lists(out_dir: Path, frames: Sequence[SourceFrame]) -> None:
    path = out_dir / 'cameras.json'
    cameras = read_json(path, 'the cameras of an earlier run: delete it') if path.is_file() else {}
    cameras.update({frame.frame_id: frame.camera for frame in frames if frame.camera is not None})
    if cameras:
        write_atomically(path, json.dumps(cameras))
    for split in dict.fromkeys(frame.split for frame in frames):
        ids = [frame.frame_id for frame in frames if frame.split == split]
        write_atomically(
            out_dir / 'gt_sets' / f'{split}.txt', ''.join(f'{frame_id}\n' for frame_id in ids)
        )


def _list_failed(failed: Mapping[str, str]) -> str:
    lines = [f'  {frame_id}: {reason}' for frame_id, reason in list(failed.items())[:_NAMED]]
    more = [f'  ... and {len(failed) - _NAMED} more'] if len(failed) > _NAMED else []
    return '\n'.join([f'{len(failed)} frames cannot be converted:', *lines, *more])
