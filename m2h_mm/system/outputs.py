"""Files that are to be written: never in the place of what is read, and in the place of another
file only where that is asked for.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

PathLike = str | Path


def require_free(
    outputs: Iterable[PathLike], inputs: Iterable[PathLike] = (), overwrite: bool = False
) -> None:
    """Raise unless the files may be written. Called before the work begins.

    Files are compared by what they are on the disk: links, hard links, and names that differ in
    case alone where the disk takes them for one, are the same file.

    Args:
        outputs: all files that the run will write.
        inputs: what the run reads: files, which are never replaced, and folders, in which nothing
            is written, nor in those below them. What is not there (the name of a config) is passed
            over.
        overwrite: whether other files may be replaced.

    Raises:
        FileExistsError: a file is there already, and ``overwrite`` is False.
        ValueError: an output is an input, lies in a folder of inputs, is a folder or a device, or
            is the file of another output.
        NotADirectoryError, PermissionError: the folder of an output is a file, or may not be
            written to.
    """
    outputs = [Path(output) for output in outputs]
    read = {_identity(found): Path(path) for path in inputs if (found := _stat(path))}
    folders = {key: path for key, path in read.items() if path.is_dir()}
    for folder in dict.fromkeys(output.parent for output in outputs):
        _require_outside(folder, folders)
    there = []
    for output in outputs:
        found = _stat(output)
        if found is None:
            there += [output] if output.is_symlink() else []  # to nowhere, but somebody's
            continue
        if not stat.S_ISREG(found.st_mode):
            what = 'a folder' if stat.S_ISDIR(found.st_mode) else 'no ordinary file'
            raise ValueError(f'{output} is {what}; expected the name of a file to write.')
        if _identity(found) in read:
            source = read[_identity(found)]
            known_as = '' if source == output else f' (as {source})'
            raise ValueError(
                f'{output} is read by this command{known_as}, and would be replaced. Choose '
                'another name or folder for what is written.'
            )
        there.append(output)
    if there and not overwrite:
        more = f' (and {len(there) - 1} more of the files to write)' if len(there) > 1 else ''
        raise FileExistsError(
            f'{there[0]} is there already{more}. Choose another name or folder, or add '
            '--overwrite to replace what is there.'
        )
    _require_distinct(outputs)
    for folder in {output.parent for output in outputs}:
        _require_writable(folder)


def require_alone(outputs: Iterable[PathLike], suffixes: Iterable[str]) -> None:
    """Raise if beside an output there is a file of the same name and another of the suffixes: which
    of the two is meant, nobody could say who reads the folder.

    Raises:
        ValueError: there is one.
    """
    for output in map(Path, outputs):
        stem = str(output).removesuffix(output.suffix)
        for other in (Path(f'{stem}{suffix}') for suffix in suffixes):
            if other.suffix != output.suffix and other.exists():
                raise ValueError(
                    f'{output} would stand beside {other}, as if both were the same map. Choose '
                    'another folder.'
                )


def _require_distinct(outputs: Iterable[Path]) -> None:
    seen: dict[str, Path] = {}
    for output in outputs:
        other = seen.setdefault(str(output).casefold(), output)
        if other is not output and (other == output or _ignores_case(output.parent)):
            raise ValueError(
                f'{other} and {output} are to be written, and are one file on this disk. Rename '
                'what they are made of, or choose another folder.'
            )


def _require_writable(folder: Path) -> None:
    """Of a folder that is yet to be made, look at the one in which it will be."""
    folder = Path(os.path.abspath(folder))
    there = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))
    if not os.path.isdir(there):
        raise NotADirectoryError(
            errno.ENOTDIR,
            f'{there} is a file, and files are to be written below it. Choose another folder.',
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f'{there} may not be written to. Choose another folder')


def _stat(path: PathLike) -> os.stat_result | None:
    """None where nothing is there, or nothing can be there; a name that is too long is an error of
    its own when it is written.
    """
    try:
        return os.stat(path)
    except OSError:
        return None


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _require_outside(folder: Path, read: dict[tuple[int, int], Path]) -> None:
    """Raise if a folder, which need not be there yet, is one of those that are read, or in it."""
    real = Path(os.path.realpath(folder))
    for parent in (real, *real.parents) if read else ():
        found = _stat(parent)
        if found and _identity(found) in read:
            raise ValueError(
                f'Nothing is written into {folder}: {read[_identity(found)]} is read by this '
                'command, and new files would be taken for its own. Choose another folder.'
            )


def _ignores_case(folder: Path) -> bool:
    """Whether the disk takes names that differ in case alone for one."""
    folder = Path(os.path.realpath(folder))
    while folder.name and not folder.exists():
        folder = folder.parent
    while folder.name and folder.name == folder.name.swapcase():
        folder = folder.parent
    other = folder.with_name(folder.name.swapcase()) if folder.name else folder
    return other != folder and other.exists() and other.samefile(folder)
