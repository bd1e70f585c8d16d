"""Which file of a data set belongs to which frame."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from m2h_mm.structures.image_file import IMAGE_SUFFIXES
from m2h_mm.tasks import Task

from .files import LABEL_SUFFIXES, index_folder

IMAGES = 'images'


@dataclass
class FrameFiles:
    """The files of all frames in a data set's folder, whatever the split.

    Attributes:
        root: the folder.
        images: frame id to image.
        labels: task to frame id to file.
        left_out: what was not taken for a file of a frame, a line for each folder.
    """

    root: Path
    images: dict[str, Path] = field(default_factory=dict)
    labels: dict[str, dict[str, Path]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def labels_of(self, frame_id: str) -> dict[str, Path]:
        """Task to file, of the tasks that the frame has labels for."""
        return {name: found[frame_id] for name, found in self.labels.items() if frame_id in found}


def find_files(root: str | Path, tasks: Mapping[str, Task]) -> FrameFiles:
    """Look for images and labels below ``root``; folders may be missing."""
    found = FrameFiles(Path(root))

    def index(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
        return index_folder(folder, suffixes, found.left_out.append) if folder.is_dir() else {}

    found.images = index(found.root / IMAGES, IMAGE_SUFFIXES)
    found.labels = {
        name: index(found.root / task.folder, LABEL_SUFFIXES) for name, task in tasks.items()
    }
    return found


def look_at_names(
    files: FrameFiles, cameras: Mapping[str, Sequence[float]], frame_ids: Sequence[str]
) -> Iterator[tuple[int, str]]:
    """Sentences on ids that may be written otherwise than was meant, each with its level of
    logging.

    Partial labels are normal, and so are labels of frames that have no image. Where both are met,
    the names of one folder may not be those of the other: a warning.

    Args:
        files: of the data set.
        cameras: frame id to camera, those of ``cameras.json``.
        frame_ids: of the split.
    """
    twice = [frame_id for frame_id, count in Counter(frame_ids).items() if count > 1]
    if twice:
        yield (
            logging.WARNING,
            f'frames that are listed more than once, and count as often: {len(twice)}, such as '
            f'{twice[0]!r}.',
        )
    for what, found in (*files.labels.items(), ('camera', cameras)):
        strays = sorted(found.keys() - files.images.keys())
        if not strays:
            continue
        which = 'cameras in cameras.json' if what == 'camera' else f'{what} labels'
        said = f'{which} of frames without an image: {len(strays)}, such as {strays[0]!r}.'
        lacking = [frame_id for frame_id in frame_ids if frame_id not in found]
        if lacking:
            said += (
                f' Frames without a {what}: {len(lacking)}, such as {lacking[0]!r}. Are they the '
                'same, by other names?'
            )
        yield logging.WARNING if lacking else logging.INFO, said
