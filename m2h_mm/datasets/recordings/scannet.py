"""ScanNet (Dai et al., CVPR 2017), as its reader of ``.sens`` files exports scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2h_mm.system.text import read_lines

from .layout import Layout, RecordedFrame, Recording, read_pose

CAMERA = (577.87, 577.87, 319.5, 239.5)
"""The depth camera of most scenes, 480x640."""
_FPS = 30
_LISTS = dict(train='scannetv2_train.txt', val='scannetv2_val.txt', test='scannetv2_test.txt')


def _read(folder: Path) -> Recording:
    images = [path for path in (folder / 'color').iterdir() if path.stem.isdigit()]
    frames = []
    for image in sorted(images, key=lambda path: int(path.stem)):
        depth = folder / 'depth' / f'{image.stem}.png'
        frames.append(
            RecordedFrame(
                image,
                depth if depth.is_file() else None,
                int(image.stem) / _FPS,
                read_pose(folder / 'pose' / f'{image.stem}.txt'),
            )
        )
    return Recording(folder, _camera(folder), frames)


def _camera(folder: Path) -> tuple[float, float, float, float]:
    for name in ('intrinsic/intrinsic_depth.txt', 'intrinsics_depth.txt'):
        path = folder / name
        if not path.is_file():
            continue
        try:
            numbers = np.array([line.split() for line in read_lines(path)], dtype=np.float64)
            (fx, _, cx), (_, fy, cy) = numbers[:2, :3]
        except (ValueError, IndexError) as error:
            raise ValueError(f'{path}: expected a matrix of intrinsics ({error}).') from None
        return float(fx), float(fy), float(cx), float(cy)
    return CAMERA


def _listed(root: Path, split: str) -> list[Path] | None:
    path = root / _LISTS.get(split, '')
    if not path.is_file():
        return None
    places = [root / name for name in ('', 'scans', 'scans_test')]
    return [
        next((place / line for place in places if (place / line).is_dir()), root / line)
        for line in read_lines(path)
    ]


SCANNET = Layout(
    'color',
    _read,
    _listed,
    dict(unit='mm'),
    'scene0000_00/color/0.jpg, depth/0.png, pose/0.txt as exported from ScanNet',
)
