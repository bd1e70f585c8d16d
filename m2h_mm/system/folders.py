"""The files in a folder and in those below it, or that a pattern names."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HIDDEN = 'hidden files'
LINKED_AGAIN = 'links to folders that are listed already, or above'
NOT_READABLE = 'folders that cannot be listed'
NO_FILE = 'links to nothing, pipes and the like'


@dataclass
class Listing:
    """What :func:`list_files` found.

    Attributes:
        files: regular files with one of the suffixes, sorted by their path.
        left_out: why something was left out, to its paths. Files of another suffix are below that
            suffix, such as ``.txt``.
    """

    files: list[Path] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def leave_out(self, reason: str, path: Path) -> None:
        self.left_out.setdefault(reason, []).append(path)

    def summary(self) -> str:
        """What was left out in one line, empty where nothing was: counts, and one name each of what
        may be missed.
        """
        suffixes = Counter()
        parts = []
        for reason, paths in self.left_out.items():
            if reason == '' or reason.startswith('.'):
                suffixes[reason or 'none'] += len(paths)
            else:
                parts.append(f'{reason}: {len(paths)}, such as {str(paths[0])!r}')
        if suffixes:
            shown = ', '.join(f'{count} {suffix}' for suffix, count in suffixes.most_common(4))
            more = ', ...' if len(suffixes) > 4 else ''
            parts.append(f'other suffixes: {shown}{more}')
        return '; '.join(parts)


def list_files(folder: str | Path, suffixes: Collection[str]) -> Listing:
    """The files in a folder and in all below it.

    Links to files are files. Links to folders are followed, but no folder is listed twice: not
    below itself, not under a second name, and none above ``folder``. What begins with a dot is
    hidden, and left out. Nothing is opened, so that a pipe blocks nobody.

    Args:
        folder: to look in.
        suffixes: of the files wanted, in small letters; capitals in the name do not matter.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    listing = Listing()
    listed: set[tuple[int, int]] = set()
    above = set(map(_identity, Path(folder).resolve().parents))
    # Folders before links to them, so that what is listed twice keeps its own name.
    folders, links = [Path(folder)], []
    while folders or links:
        current = folders.pop() if folders else links.pop(0)
        try:
            identity = _identity(current)
            if identity in listed or identity in above:
                listing.leave_out(LINKED_AGAIN, current)
                continue
            with os.scandir(current) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError as error:
            if not listed:
                raise OSError(
                    error.errno, f'{folder} cannot be listed: {error.strerror}'
                ) from error
            listing.leave_out(NOT_READABLE, current)
            continue
        listed.add(identity)
        for entry in entries:
            path = current / entry.name
            if entry.name.startswith('.'):
                if path.suffix.lower() in suffixes:
                    listing.leave_out(HIDDEN, path)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_symlink() and os.path.isdir(path):
                links.append(path)
            elif path.suffix.lower() not in suffixes:
                listing.leave_out(path.suffix.lower(), path)
            elif entry.is_file(follow_symlinks=False) or os.path.isfile(path):
                listing.files.append(path)
            else:
                listing.leave_out(NO_FILE, path)
    listing.files.sort(key=lambda path: path.parts)
    return listing


def match_files(pattern: str | Path, suffixes: Collection[str]) -> Listing:
    """The files that a pattern such as ``photos/*.png`` names. ``**`` stands for any folders, which
    are looked for as in :func:`list_files`: no circle of links is followed.

    Args:
        pattern: with ``*``, ``?`` and ``[...]``.
        suffixes: of the files wanted, in small letters; capitals in the name do not matter.
    """
    parts = Path(pattern).parts
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    base = Path(*parts[:fixed])
    if '**' in parts and base.is_dir():
        found = list_files(base, suffixes)
        found.files = [
            path for path in found.files if _matches(path.parts[len(base.parts) :], parts[fixed:])
        ]
        return found
    listing = Listing()
    for path in map(Path, sorted(glob.glob(str(pattern)))):
        if os.path.isdir(path):
            listing.leave_out('folders', path)
        elif path.suffix.lower() not in suffixes:
            listing.leave_out(path.suffix.lower(), path)
        elif os.path.isfile(path):
            listing.files.append(path)
        else:
            listing.leave_out(NO_FILE, path)
    return listing


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == '**':
        return any(_matches(parts[index:], pattern[1:]) for index in range(len(parts) + 1))
    return bool(
        parts and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])
    )


def _identity(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
