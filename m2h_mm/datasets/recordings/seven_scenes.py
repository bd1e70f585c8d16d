"""Microsoft's 7-Scenes (Shotton et al., CVPR 2013)."""

from __future__ import annotations

import re
from pathlib import Path

from m2h_mm.system.text import read_lines

from .layout import Layout, RecordedFrame, Recording, read_pose

CAMERA = (585.0, 585.0, 320.0, 240.0)
"""The published default of the depth camera. Colour is not registered to it."""
_FPS = 30
_LISTS = dict(train='TrainSplit.txt', val='TestSplit.txt', test='TestSplit.txt')
_FIRST = 'frame-000000.color.png'


def _read(folder: Path) -> Recording:
    frames = []
    for image in sorted(folder.glob('frame-*.color.png')):
        stem = image.name.removesuffix('.color.png')
        depth = folder / f'{stem}.depth.png'
        frames.append(
            RecordedFrame(
                image,
                depth if depth.is_file() else None,
                int(stem.removeprefix('frame-')) / _FPS,
                read_pose(folder / f'{stem}.pose.txt'),
            )
        )
    return Recording(folder, CAMERA, frames)


def _listed(root: Path, split: str) -> list[Path] | None:
    """Lines such as ``sequence3`` of the lists of one scene, or of all scenes below ``root``."""
    if split not in _LISTS:
        return None
    lists = sorted({root / _LISTS[split], *root.glob(f'*/{_LISTS[split]}')})
    lists = [path for path in lists if path.is_file()]
    folders = []
    for path in lists:
        for line in read_lines(path):
            number = re.fullmatch(r'(?:sequence|seq-?)\s*(\d+)', line)
            if number is None:
                raise ValueError(f"{path}: expected lines such as 'sequence3', got {line!r}.")
            folders.append(path.parent / f'seq-{int(number[1]):02d}')
    return folders if lists else None


SEVEN_SCENES = Layout(
    _FIRST,
    _read,
    _listed,
    # Millimetres; 65535 where nothing was measured.
    dict(unit='mm', invalid=(65535,)),
    'seq-01/frame-000000.color.png, .depth.png and .pose.txt as in 7-Scenes',
)
