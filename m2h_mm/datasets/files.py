"""Finding frames on disk and looking at their files without decoding them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from m2h_mm.tasks.files import mat_shape

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg')
LABEL_SUFFIXES = ('.npy', '.png', '.mat', '.jpg')

# What an intact file ends with. Writers may append a few bytes, so it is looked for in the last
# ones.
_ENDS = {'.png': b'IEND', '.jpg': b'\xff\xd9', '.jpeg': b'\xff\xd9'}
_TAIL_BYTES = 4096


def index_folder(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Frame id to file, for the files in ``folder`` with one of the suffixes; earlier suffixes win."""
    found: dict[str, Path] = {}
    rank = {suffix: position for position, suffix in enumerate(suffixes)}
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            suffix = path.suffix.lower()
            if suffix not in rank or entry.name.startswith('.'):
                continue
            other = found.get(path.stem)
            if other is None or rank[suffix] < rank[other.suffix.lower()]:
                found[path.stem] = path
    return found


def frame_size(path: Path) -> tuple[int, int]:
    """``(H, W)`` of an image or array file, from its header; finds files that are empty, cut off or
    something else.

    Raises:
        ValueError: the file is not an intact image or array.
    """
    suffix = path.suffix.lower()
    try:
        if os.path.getsize(path) == 0:
            raise ValueError('it has zero bytes')
        if suffix in ('.npy', '.mat'):
            shape = (
                mat_shape(path)
                if suffix == '.mat'
                else np.load(path, mmap_mode='r', allow_pickle=False).shape
            )
            shape = [length for length in shape if length != 1]
            if len(shape) < 2:
                raise ValueError(f'it holds an array of shape {tuple(shape)}')
            return shape[0], shape[1]
        with Image.open(path) as image:
            width, height = image.size
        with open(path, 'rb') as file:
            file.seek(-min(_TAIL_BYTES, os.path.getsize(path)), os.SEEK_END)
            if _ENDS[suffix] not in file.read():
                raise ValueError('it is cut off')
        return height, width
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f'{path} cannot be read ({error}). Expected an intact {suffix} file: '
            'restore it; a label file '
            'may also be deleted, the frame is then used without that label.'
        ) from error


def read_cameras(root: Path) -> dict[str, Sequence[float]]:
    """Frame id to (fx, fy, cx, cy) in pixels, from ``cameras.json`` in ``root``; empty where there
    is none.

    Raises:
        ValueError: the file holds something else.
    """
    path = root / 'cameras.json'
    if not path.is_file():
        return {}
    try:
        cameras = json.loads(path.read_text())
        for frame_id, camera in cameras.items():
            fx, fy, _, _ = (float(number) for number in camera)
            if fx <= 0 or fy <= 0:
                raise ValueError(f'frame {frame_id!r} has {camera}')
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path}: expected {{"<id>": [fx, fy, cx, cy], ...}} in pixels, fx and fy '
            'positive '
            f'({error}).'
        ) from error
    return cameras
