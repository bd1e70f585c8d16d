"""Rendered rooms on disk, in the layout of NYUD-MT."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from m2h_mm.rooms.filling import Filling
from m2h_mm.rooms.render import RoomFrame, render_frame
from m2h_mm.rooms.styles import find_style
from m2h_mm.system import write_atomically

GENERATOR_VERSIONS = dict(plain=1, varied=2)
"""Part of the folder's name: raise a style's whenever its frame of a (seed, index) changes."""
VAL_START = 1_000_000
"""Validation frames have indices from here on, so that no split ever shares a room with the other.
"""
FOLDERS = ('images', 'segmentation', 'depth', 'normals', 'edge')
CAMERAS = 'cameras.json'


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
    check_numbers(num_train, num_val, size, seed)
    folder = rooms_folder(root, num_train, num_val, size, seed, style)
    height, width = size
    splits = split_indices(num_train, num_val)
    parameters = dict(
        version=GENERATOR_VERSIONS[style],
        seed=seed,
        size=[height, width],
        num_train=num_train,
        num_val=num_val,
        **({} if style == 'plain' else dict(style=style)),
    )
    job = dict(style=style, seed=seed, height=height, width=width)

    def finish(cameras: dict[str, list]) -> None:
        write_splits(folder, {split: map(frame_id, indices) for split, indices in splits.items()})
        write_atomically(folder / CAMERAS, json.dumps(cameras))

    return Filling(
        folder,
        'rooms',
        parameters,
        job,
        items={index: frame_id(index) for indices in splits.values() for index in indices},
        folders=FOLDERS,
        whole=lambda: whole_frames(folder, FOLDERS),
        render=lambda index: render_to(folder, index, **job),
        finish=finish,
        recall=lambda: read_cameras(folder),
    ).ensure(num_workers)


def check_numbers(num_train: int, num_val: int, size: Sequence[int], seed: int) -> None:
    """Raise a ValueError unless so many frames, or walks, of a size can be rendered."""
    if not (0 < num_train <= VAL_START and num_val >= 0 and min(size) >= 16 and seed >= 0):
        raise ValueError(
            f'num_train={num_train}, num_val={num_val}, size={tuple(size)}, seed={seed}: '
            f'expected 1..{VAL_START} for training, no negative number or seed, and at least '
            '16 x 16 pixels.'
        )


def split_indices(num_train: int, num_val: int) -> dict[str, range]:
    """Split to the indices of its rooms."""
    return dict(train=range(num_train), val=range(VAL_START, VAL_START + num_val))


def write_splits(folder: Path, splits: Mapping[str, Iterable[str]]) -> None:
    """Write the list of frame ids of each split."""
    (folder / 'gt_sets').mkdir(exist_ok=True)
    for split, frame_ids in splits.items():
        lines = ''.join(f'{frame_id}\n' for frame_id in frame_ids)
        write_atomically(folder / 'gt_sets' / f'{split}.txt', lines)


def read_cameras(folder: Path) -> dict[str, list[float]]:
    """Cameras by the frames of a data set that was complete once; else none."""
    listed = folder / CAMERAS
    return json.loads(listed.read_text()) if listed.is_file() and listed.stat().st_size else {}


def write_frame(folder: Path, name: str, frame: RoomFrame) -> None:
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
    for kind, array in arrays.items():
        # Level 1 halves the size of labels, but images it makes larger and slower to read.
        parameters = [] if kind == 'images' else [cv2.IMWRITE_PNG_COMPRESSION, 1]
        data = cv2.imencode('.png', np.ascontiguousarray(array), parameters)[1].tobytes()
        write_atomically(folder / kind / f'{name}.png', data)


def render_to(
    folder: Path, index: int, style: str, seed: int, height: int, width: int
) -> list[float]:
    """Render a frame, write its files, and return its camera (fx, fy, cx, cy)."""
    frame = render_frame(seed, index, height, width, style)
    write_frame(folder, frame_id(index), frame)
    return camera_numbers(frame.cam2img)


def camera_numbers(cam2img: np.ndarray) -> list[float]:
    """(fx, fy, cx, cy) of intrinsics (3, 3)."""
    return [float(cam2img[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))]


def whole_frames(folder: Path, folders: Iterable[str]) -> set[str]:
    """Names of the frames of which every file is there, and none is empty.

    A whole folder may be missing: who needs no normals may have deleted them.

    Args:
        folder: to look in.
        folders: its sub-folders with files of frames.
    """
    found = [
        {
            entry.name.removesuffix('.png')
            for entry in os.scandir(folder / name)
            if entry.name.endswith('.png') and entry.stat().st_size
        }
        for name in folders
        if (folder / name).is_dir()
    ]
    return set.intersection(*found) if found else set()
