"""Rendered walks on disk, in the layout of NYUD-MT with poses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import cv2
import numpy as np

from m2h_mm.rooms.cache import (
    CAMERAS,
    FOLDERS,
    GENERATOR_VERSIONS,
    camera_numbers,
    check_numbers,
    frame_id,
    read_cameras,
    split_indices,
    whole_frames,
    write_frame,
    write_splits,
)
from m2h_mm.rooms.filling import Filling
from m2h_mm.rooms.styles import find_style
from m2h_mm.rooms.walk import DEFAULT_WALK, Walk, WalkOptions
from m2h_mm.system import write_atomically
from m2h_mm.system.text import read_json

WALK_VERSION = 1
"""Part of the folder's name: raise it whenever a frame of a walk changes in rooms that do not."""
POSES = 'poses.json'
INSTANCES = 'instances'
_ALL_FOLDERS = (*FOLDERS, INSTANCES)


def walks_folder(
    root: str | Path,
    num_train: int,
    num_val: int,
    size: Sequence[int],
    seed: int,
    style: str = 'plain',
    options: WalkOptions = DEFAULT_WALK,
) -> Path:
    """The folder below ``root`` that is for these parameters and this generator alone.

    Raises:
        ValueError: there is no such style.
    """
    find_style(style)
    height, width = size
    stated = ''.join(
        f'_{field.name}{getattr(options, field.name)}'
        for field in fields(options)
        if field.name != 'num_frames' and getattr(options, field.name) != field.default
    )
    return Path(root) / (
        f'walks_v{GENERATOR_VERSIONS[style]}.{WALK_VERSION}_{style}_seed{seed}_{height}x{width}'
        f'_train{num_train}_val{num_val}_frames{options.num_frames}{stated}'
    )


def ensure_walks(
    root: str | Path,
    num_train: int,
    num_val: int,
    size: Sequence[int] = (240, 320),
    seed: int = 0,
    num_workers: int | None = None,
    style: str = 'plain',
    options: WalkOptions = DEFAULT_WALK,
) -> Path:
    """Render what is missing of a data set of walks, and return its folder.

    Frame 7 of the walk with index 3 is ``0000003/0007``. Beside what :func:`ensure_rooms` writes
    there are ``instances``, 16-bit numbers within the room, and ``poses.json``, frame id to
    ``timestamp`` in seconds and ``cam2world`` (4, 4), see :class:`WalkFrame`.

    Any number of processes may call this at once: one renders, the others wait. A killed run goes
    on with the frame at which it stopped.

    Args:
        root: parent of the data sets; each combination of parameters has a folder of its own in it.
        num_train, num_val: number of walks per split, each in a room of its own; no room of
            :func:`ensure_rooms` is in another split here.
        size: (H, W) of the frames in pixels.
        seed: of all walks.
        num_workers: processes; None for one per available core, 0 to render in this process.
        style: of the rooms, ``'plain'`` or ``'varied'``.
        options: of the walks.

    Raises:
        ValueError, PermissionError, OSError: as of :func:`ensure_rooms`.
    """
    check_numbers(num_train, num_val, size, seed)
    folder = walks_folder(root, num_train, num_val, size, seed, style, options)
    height, width = size
    splits = split_indices(num_train, num_val)
    job = dict(style=style, seed=seed, height=height, width=width, options=asdict(options))
    parameters = dict(
        job, version=[GENERATOR_VERSIONS[style], WALK_VERSION], num_train=num_train, num_val=num_val
    )
    items = {index: frame_id(index) for indices in splits.values() for index in indices}
    numbers = range(options.num_frames)

    def whole() -> set[str]:
        return {walk for walk in items.values() if len(_whole_of(folder, walk)) >= len(numbers)}

    def finish(known: dict[str, list]) -> None:
        write_splits(
            folder,
            {
                split: [_frame_of(items[index], number) for index in indices for number in numbers]
                for split, indices in splits.items()
            },
        )
        cameras, poses = {}, {}
        for walk, (camera, walk_poses) in known.items():
            for number, (timestamp, cam2world) in enumerate(walk_poses):
                cameras[_frame_of(walk, number)] = camera
                poses[_frame_of(walk, number)] = dict(timestamp=timestamp, cam2world=cam2world)
        write_atomically(folder / CAMERAS, json.dumps(cameras))
        write_atomically(folder / POSES, json.dumps(poses))

    return Filling(
        folder,
        'walks',
        parameters,
        job,
        items=items,
        folders=_ALL_FOLDERS,
        whole=whole,
        render=lambda index: render_walk_to(folder, index, **job),
        finish=finish,
        recall=lambda: _recall(folder, list(items.values()), len(numbers)),
    ).ensure(num_workers)


def render_walk_to(
    folder: Path, index: int, style: str, seed: int, height: int, width: int, options: dict
) -> list:
    """Render those frames of a walk that are not there yet, write their files, and return what is
    known of it: the camera (fx, fy, cx, cy), and for each frame its time in seconds and its pose,
    (4, 4) numbers.
    """
    walk, name = Walk(seed, index, height, width, style, WalkOptions(**options)), frame_id(index)
    for kind in _ALL_FOLDERS:
        (folder / kind / name).mkdir(parents=True, exist_ok=True)
    there = _whole_of(folder, name)
    for number in range(len(walk)):
        if f'{number:04d}' not in there:
            frame = walk.frame(number)
            instances = cv2.imencode('.png', frame.instances.astype(np.uint16))[1].tobytes()
            write_atomically(folder / INSTANCES / f'{_frame_of(name, number)}.png', instances)
            write_frame(folder, _frame_of(name, number), frame)
    poses = [[walk.time(number), walk.cam2world(number).tolist()] for number in range(len(walk))]
    return [camera_numbers(walk.cam2img), poses]


def _frame_of(walk: str, number: int) -> str:
    return f'{walk}/{number:04d}'


def _whole_of(folder: Path, walk: str) -> set[str]:
    """Numbers, as four digits, of the frames of a walk of which all files are there."""
    folders = [f'{name}/{walk}' for name in _ALL_FOLDERS if (folder / name).is_dir()]
    if not all((folder / name).is_dir() for name in folders):
        return set()
    return whole_frames(folder, folders)


def _recall(folder: Path, walks: list[str], length: int) -> dict[str, list]:
    cameras, path = read_cameras(folder), folder / POSES
    if not cameras or not path.is_file() or not path.stat().st_size:
        return {}
    poses = read_json(path, 'the poses of the walks: delete its folder, it will be rendered anew')
    known = {}
    for walk in walks:
        names = [_frame_of(walk, number) for number in range(length)]
        if all(name in cameras and name in poses for name in names):
            found = [[poses[name]['timestamp'], poses[name]['cam2world']] for name in names]
            known[walk] = [cameras[names[0]], found]
    return known
