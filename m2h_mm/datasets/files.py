"""Finding the files of a data set, and reading their headers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from m2h_mm.tasks.files import array_size

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg')
LABEL_SUFFIXES = ('.npy', '.png', '.mat', '.jpg')
NAMED = 5

# What an intact file ends with. Writers may append a few bytes, so it is looked for in the last
# ones.
_ENDS = {'.png': b'IEND', '.jpg': b'\xff\xd9', '.jpeg': b'\xff\xd9'}
_TAIL_BYTES = 4096


def index_folder(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Frame id to file, for the files in ``folder`` with one of the suffixes; earlier ones win."""
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


def read_split(root: Path, split: str) -> list[str]:
    """The frame ids in ``<root>/gt_sets/<split>.txt``.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: it is empty.
    """
    path = root / 'gt_sets' / f'{split}.txt'
    if not path.is_file():
        others = sorted(file.stem for file in path.parent.glob('*.txt'))
        raise FileNotFoundError(
            f'split={split!r}: there is no {path}, the list of frame ids, one per line. Splits '
            f'that are there: {others or "none"}.'
        )
    frame_ids = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    if not frame_ids:
        raise ValueError(f'split={split!r}: {path} is empty; expected one frame id per line.')
    return frame_ids


def require_images(
    root: Path, split: str, frame_ids: Sequence[str], images: Mapping[str, Path]
) -> None:
    """Raise a FileNotFoundError that names the first frames of a split without an image."""
    missing = [frame_id for frame_id in frame_ids if frame_id not in images]
    if missing:
        raise FileNotFoundError(
            f'split={split!r}: {len(missing)} of {len(frame_ids)} frames have no image in '
            f'{root / "images"}, such as {missing[:NAMED]}. The data is incomplete or the split '
            'file belongs to another release.'
        )


def frame_size(path: Path) -> tuple[int, int]:
    """``(H, W)`` of an image or array file, from its header; finds files that are empty, cut off or
    something else.

    Raises:
        ValueError: the file is not an intact image or array.
    """
    suffix = path.suffix.lower()
    if suffix in ('.npy', '.mat'):
        return array_size(path)
    try:
        if os.path.getsize(path) == 0:
            raise ValueError('it has zero bytes')
        with Image.open(path) as image:
            width, height = image.size
        with open(path, 'rb') as file:
            file.seek(-min(_TAIL_BYTES, os.path.getsize(path)), os.SEEK_END)
            if _ENDS[suffix] not in file.read():
                raise ValueError('it is cut off')
        return height, width
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f'{path} cannot be read ({error}). Expected an intact {suffix} file: restore it; a '
            'label file may also be deleted, the frame is then used without that label.'
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
            f'{path}: expected {{"<id>": [fx, fy, cx, cy], ...}} in pixels, fx and fy positive '
            f'({error}).'
        ) from error
    return cameras
