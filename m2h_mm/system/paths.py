"""Names that come from a file: as frame ids, and as paths that stay where they belong."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path, PurePath


def as_id(name: str) -> str:
    """A name as a frame id: letters with marks have several forms (NFC, NFD), and disks of Macs
    change one into the other.
    """
    return name if name.isascii() else unicodedata.normalize('NFC', name)


def id_of_file(path: Path, folder: Path) -> str:
    """The frame id of a file in a folder of images, labels or predictions: its path below the
    folder without the suffix, such as ``0000`` or ``scene0/0000``.
    """
    return as_id(os.path.splitext('/'.join(path.parts[len(folder.parts) :]))[0])


def path_inside(folder: str | Path, name: str, links: bool = False) -> Path:
    """``folder/name``, for a name that a list, a table, an archive, a network or a checkpoint
    holds: whoever wrote that file must not choose a place outside.

    Args:
        folder: to which the name belongs; it may be missing, and be a link itself.
        name: of a file, with folders before it or without: ``scene0/0000.png``.
        links: let links lead out of the folder: where it is only read, they are its owner's, who
            keeps a part of his data elsewhere.

    Raises:
        ValueError: the name is no text, is empty, absolute, contains ``..`` or a zero byte, or,
            unless ``links``, it leads out of the folder through a link.
    """
    reason = _what_is_wrong(name)
    if reason is None:
        path = Path(folder, name)
        # Not Path.resolve, which raises a RuntimeError at a circle of links before Python 3.13.
        inside, real = os.path.realpath(folder), os.path.realpath(path)
        if links or os.path.commonpath((inside, real)) == inside:
            return path
        reason = f'it leads to {real}, through a link'
    raise ValueError(
        f'The name {name!r}: {reason}. Expected the name of a file that stays in {folder}, such as '
        "'0000' or 'scene0/0000'."
    )


def _what_is_wrong(name: object) -> str | None:
    if not isinstance(name, str):
        return f'it is no text but {type(name).__name__}'
    if not name.strip('./'):
        return 'it names no file'
    if '\0' in name:
        return 'it contains a zero byte'
    path = PurePath(name)
    if path.is_absolute() or path.anchor:
        return 'it is an absolute path'
    if '..' in path.parts:
        return "it contains '..'"
    return None
