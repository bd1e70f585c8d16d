"""What each input is called, and the files of what becomes of it."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from m2h_mm.tasks import Task


def name_inputs(sources: Sequence[Any], root: str | Path | None = None) -> list[str]:
    """A name for each, unlike all others.

    A file is called by its path below ``root``, without the suffix: ``kitchen/a`` for
    ``photos/kitchen/a.jpg``. Files of one folder that differ in the suffix alone keep it:
    ``kitchen/a.jpg`` and ``kitchen/a.png``. So a file has the same name whatever else is there,
    unless it is that. What is no path is called by its position, ``000003``.

    Args:
        sources: paths, or anything else.
        root: folder that all paths are in. Default: the innermost one.
    """
    paths = [source for source in sources if isinstance(source, (str, Path))]
    root = common_folder(paths) if root is None else Path(os.path.abspath(root))
    names, full = [], []
    for index, source in enumerate(sources):
        if isinstance(source, (str, Path)):
            path = Path(os.path.relpath(os.path.abspath(source), root))
            names.append(path.with_suffix('').as_posix())
            full.append(path.as_posix())
        else:
            names.append(f'{index:06d}')
            full.append(f'{index:06d}.image')
    counts = Counter(names)
    names = [long if counts[name] > 1 else name for name, long in zip(names, full, strict=True)]
    # a.jpg beside a.png and a.jpg.png
    return _numbered(names if len(set(names)) == len(names) else full)


def path_of(source: Any) -> str | Path | None:
    """The file of a source, which open files and images of PIL know too; else None."""
    if not isinstance(source, (str, Path)):
        source = getattr(source, 'filename', None) or getattr(source, 'name', None)
    return source if isinstance(source, (str, Path)) else None


def root_of(source: str | Path) -> Path | None:
    """The folder below which the files of an input of the command line are named: that folder
    itself, or of a glob the part before its first wildcard; None for a file.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.is_file():
        return None
    parts = path.parts
    fixed = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[: min(fixed, len(parts) - 1)])


def without_results(found: Sequence[Path], source: str | Path, out_dir: str | Path) -> list[Path]:
    """The files of an input but for those in ``out_dir``, where that lies in the input: they are
    results of an earlier run, and it is said how many.

    Raises:
        ValueError: ``out_dir`` is the input's folder: a later run would take pictures for images.
    """
    root = root_of(source)
    if root is None:
        return list(found)
    root, out = os.path.realpath(root), os.path.realpath(out_dir)
    if root == out and Path(source).is_dir():
        raise ValueError(
            f'--out-dir: {out_dir} is the folder of the images, and the next run would take the '
            f'pictures in it for images too. Choose another, such as {Path(out_dir) / "results"}.'
        )
    if root == out or not Path(out).is_relative_to(root):
        return list(found)
    kept = [path for path in found if not Path(os.path.realpath(path)).is_relative_to(out)]
    if len(kept) < len(found):
        print_log(f'{len(found) - len(kept)} images in {out_dir} are results, and left out.')
    return kept


def map_path(name: str, task: Task, out_dir: str | Path) -> Path:
    """Where the map of an input is written."""
    return Path(out_dir) / task.name / f'{name}{task.prediction_suffix}'


def picture_path(name: str, out_dir: str | Path) -> Path:
    """Where the picture of an input is written."""
    return Path(out_dir) / 'pictures' / f'{name}.png'


def common_folder(paths: Iterable[str | Path]) -> Path:
    """The innermost folder that all files are in."""
    folders = [os.path.dirname(os.path.abspath(path)) for path in paths]
    return Path(os.path.commonpath(folders)) if folders else Path()


def _numbered(names: Sequence[str]) -> list[str]:
    """What is there twice, as one file given twice, gets a number."""
    taken, numbered = set(), []
    for name in names:
        chosen, number = name, 1
        while chosen in taken:
            number += 1
            chosen = f'{name}_{number}'
        taken.add(chosen)
        numbered.append(chosen)
    return numbered
