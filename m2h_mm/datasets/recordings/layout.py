"""What a layout of recordings says, and how recordings are found and files of poses are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from m2h_mm.geometry.pose import check_pose
from m2h_mm.system.text import read_lines

_DEPTH = 3
"""So many folders below the data set's root a recording may lie."""


@dataclass(frozen=True)
class RecordedFrame:
    """A frame of a recording.

    Attributes:
        image: its colour image.
        depth: its depth, None where there is none.
        timestamp: seconds; absolute, or from the recording's first frame.
        cam2world: its pose, see :mod:`m2h_mm.geometry.pose`; None where it was lost.
    """

    image: Path
    depth: Path | None
    timestamp: float
    cam2world: np.ndarray | None


@dataclass(frozen=True)
class Recording:
    """The frames of one camera, in order of time.

    Attributes:
        folder: it lies in.
        camera: (fx, fy, cx, cy) in pixels, of the depth where that differs in size from the image.
        frames: in order of time.
    """

    folder: Path
    camera: Sequence[float]
    frames: list[RecordedFrame] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """How a public data set stores recordings.

    Attributes:
        marker: a file or folder that every recording has in its folder.
        read: the folder of a recording to the recording.
        lists: split and root to the recordings' folders that a list of the data set names, None
            where it has no such list.
        depth_format: how its depth is read, see :class:`~m2h_mm.tasks.depth.task.Depth`.
        expected: the files of a recording, for messages.
    """

    marker: str
    read: Callable[[Path], Recording]
    lists: Callable[[Path, str], list[Path] | None]
    depth_format: Mapping[str, Any]
    expected: str

    def find(self, root: Path, split: str) -> list[Path]:
        """The folders of a split's recordings: ``'all'``, or what ``gt_sets/<split>.txt`` below
        ``root`` or a list of the data set's own names.

        Raises:
            FileNotFoundError: there is no list, or no recording where it says.
        """
        if split == 'all':
            found = self._search(root)
        elif (list_file := root / 'gt_sets' / f'{split}.txt').is_file():
            found = [root / line for line in read_lines(list_file)]
        else:
            found = self.lists(root, split)
            if found is None:
                raise FileNotFoundError(
                    f'split={split!r}: no list of recordings. Write {list_file}, the name of a '
                    f"folder below {root} on each line, or set split='all'."
                )
        missing = [folder for folder in found if not (folder / self.marker).exists()]
        if missing or not found:
            raise FileNotFoundError(
                f'split={split!r}: no recording in {missing[0] if missing else root.absolute()}: '
                f'expected {self.expected}. Set data_root to where they are, and layout to how '
                'they are stored.'
            )
        return found

    def _search(self, root: Path) -> list[Path]:
        patterns = ['/'.join(['*'] * depth + [self.marker]) for depth in range(_DEPTH + 1)]
        found = {path.parent for pattern in patterns for path in root.glob(pattern)}
        return sorted(found)


def read_pose(path: Path) -> np.ndarray | None:
    """The pose in a text file of 4x4 numbers; None where the file is missing or the numbers are not
    finite, by which tracking says that it was lost.

    Raises:
        ValueError: something else is in it.
    """
    if not path.is_file():
        return None
    try:
        numbers = np.array([line.split() for line in read_lines(path)], dtype=np.float64)
        if numbers.shape == (4, 4) and not np.isfinite(numbers).all():
            return None
        return check_pose(numbers)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
