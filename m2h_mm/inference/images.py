"""Listing the images that are meant by a file, a folder or a pattern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from m2h_mm.structures.image_file import IMAGE_SUFFIXES, require_image_source
from m2h_mm.system.folders import list_files, match_files


def list_sources(inputs: Any) -> list:
    """The images of a call: one that :func:`~m2h_mm.structures.image_file.read_image` takes, or
    several.

    Raises:
        ValueError: something else, or something else among them.
    """
    one = isinstance(inputs, (str, bytes, bytearray, memoryview, Mapping)) or any(
        hasattr(inputs, name) for name in ('read', '__array__')
    )
    if one or not isinstance(inputs, Iterable):
        require_image_source(inputs, 'inputs')
        return [inputs]
    sources = list(inputs)
    for index, source in enumerate(sources):
        require_image_source(source, f'inputs[{index}]')
    return sources


def list_images(source: str | Path) -> list[Path]:
    """The files that a command line means by an image, a folder (its images, those in folders below
    it too), or a glob; see :func:`~m2h_mm.system.folders.list_files`. What is left out is said.

    A file that is named itself is taken whatever its suffix.

    Raises:
        FileNotFoundError: there is nothing of that name, or no image in it.
        ValueError: it is a pipe, a device or the like.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        found, where = list_files(path, IMAGE_SUFFIXES), f'no file in the folder {path} ends in'
    elif path.exists():
        raise ValueError(f'Input: {path} is no ordinary file; expected an image or a folder.')
    else:
        found = match_files(source, IMAGE_SUFFIXES)
        where = (
            f'there is no file or folder {source}, and as a pattern it matches nothing that ends in'
        )
    left_out = found.summary()
    if not found.files:
        raise FileNotFoundError(
            f'Input: {where} {", ".join(IMAGE_SUFFIXES)}.'
            + (f' There are {left_out}.' if left_out else '')
        )
    if left_out:
        print_log(f'Left out of {source}: {left_out}.')
    return found.files
