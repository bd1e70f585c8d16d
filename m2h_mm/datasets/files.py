"""Finding the files of a data set, and reading their headers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from m2h_mm.system.folders import list_files
from m2h_mm.system.paths import as_id, id_of_file
from m2h_mm.system.text import read_lines

LISTS = 'gt_sets'
LABEL_SUFFIXES = ('.npy', '.png', '.mat', '.jpg')
NAMED = 5


def index_folder(
    folder: Path, suffixes: Sequence[str], say: Callable[[str], None] | None = None
) -> dict[str, Path]:
    """Frame id to file, for the files in ``folder`` and below it with one of the suffixes; of two
    for one frame, that of the earlier suffix.

    Args:
        folder: to look in.
        suffixes: in small letters; capitals in a file's name do not matter.
        say: told in one line what was left out, if something was.
    """
    listing = list_files(folder, suffixes)
    found: dict[str, Path] = {}
    rank = {suffix: position for position, suffix in enumerate(suffixes)}
    for path in listing.files:
        frame_id = id_of_file(path, folder)
        other = found.setdefault(frame_id, path)
        if other is not path:
            best, worse = sorted((other, path), key=lambda file: rank[file.suffix.lower()])
            found[frame_id] = best
            listing.leave_out('files beside another one of their frame', worse)
    if say is not None and listing.summary():
        say(f'left out of {folder}: {listing.summary()}')
    return found


def read_split(root: Path, split: str) -> list[str]:
    """The frame ids in ``<root>/gt_sets/<split>.txt``.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: it is empty, or no text.
    """
    path = root / LISTS / f'{split}.txt'
    if not path.is_file():
        others = sorted(file.stem for file in path.parent.glob('*.txt'))
        raise FileNotFoundError(
            f'split={split!r}: there is no {path}, the list of frame ids, one per line. Splits '
            f'that are there: {others or "none"}.'
        )
    frame_ids = read_ids(path)
    if not frame_ids:
        raise ValueError(f'split={split!r}: {path} is empty; expected one frame id per line.')
    return frame_ids


def read_ids(path: Path) -> list[str]:
    """The frame ids of a list, one per line, in its order; one that is there twice comes twice.

    Raises:
        ValueError: it is no text.
    """
    return [as_id(line) for line in read_lines(path)]


def require_images(
    place: str,
    split: str,
    frame_ids: Sequence[str],
    images: Mapping[str, Path],
    left_out: Sequence[str] = (),
) -> None:
    """Raise a FileNotFoundError that names the first frames of a split without an image, how the
    list may be meant, and ``left_out``, what was not looked at.
    """
    missing = [frame_id for frame_id in frame_ids if frame_id not in images]
    if missing:
        reason = _meant(missing[0], images) or (
            'The data is incomplete or the split file belongs to another release.'
        )
        raise FileNotFoundError(
            f'split={split!r}: {len(missing)} of {len(frame_ids)} frames have no image in '
            f'{place}, such as {missing[:NAMED]}. '
            + ' '.join([reason, *(f'{line[0].upper()}{line[1:]}.' for line in left_out)])
        )


def _meant(line: str, images: Mapping[str, Path]) -> str | None:
    """Which id a line of a list may mean, None where nothing fits."""
    if not line.isprintable() and any('\udc80' <= letter <= '\udcff' for letter in line):
        return 'The list is not UTF-8, but the names of the files may be: write it as UTF-8.'
    first = line.replace('\\', '/').split()[0]
    for written in (line.replace('\\', '/'), first):
        below = written.removeprefix('./').removeprefix('images/')
        for candidate in (below, os.path.splitext(below)[0]):
            if candidate in images:
                return f'For {line!r} write {candidate!r}: the file below images/, without suffix.'
    if line.startswith('#'):
        return 'Every line is an id: a list has no comments.'
    spaced = next((image for image in images if image.strip() == line), None)
    if spaced is not None:
        return f'There is {spaced!r}: rename it, a list has no spaces around an id.'
    same = next((image for image in images if image.endswith(f'/{line}')), None)
    if same is not None:
        return f'For {line!r} write {same!r}: an id has the folders below images/ in it.'
    return None
