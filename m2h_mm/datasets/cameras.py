"""The cameras of a data set, as ``cameras.json`` lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m2h_mm.geometry.pinhole import check_camera
from m2h_mm.system.paths import as_id
from m2h_mm.system.text import read_text

CAMERAS = 'cameras.json'
_MOST_BYTES = 2**30


def read_cameras(root: Path) -> dict[str, Sequence[float]]:
    """Frame id to (fx, fy, cx, cy) in pixels, from ``cameras.json`` in ``root``; empty where there
    is none.

    Raises:
        ValueError: the file holds something else, an id twice, or numbers that no camera has.
    """
    path = root / CAMERAS
    if not path.exists():
        return {}
    try:
        if not path.is_file():
            raise ValueError('it is no file')
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f'it has {path.stat().st_size / 2**30:.1f} GiB')
        cameras = json.loads(read_text(path), object_pairs_hook=_unique)
        if not isinstance(cameras, dict):
            raise ValueError(f'it holds a {type(cameras).__name__}')
        for frame_id, camera in cameras.items():
            if not isinstance(camera, list) or len(camera) != 4:
                raise ValueError(f'frame {frame_id!r} has {camera!r}'[:200])
            try:
                check_camera(*camera)
            except ValueError as error:
                raise ValueError(f'frame {frame_id!r}: {error}'[:300]) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'{path}: expected {{"<id>": [fx, fy, cx, cy], ...}} in pixels, finite, fx and fy '
            f'positive ({error}).'
        ) from error
    return {as_id(frame_id): camera for frame_id, camera in cameras.items()}


def question_cameras(
    root: Path, cameras: Mapping[str, Sequence[float]], sizes: Mapping[str, tuple[int, int]]
) -> dict[str, str]:
    """Frame id to what is doubtful about its camera, see :func:`check_camera`.

    Args:
        root: the folder of ``cameras.json``.
        cameras: what it lists.
        sizes: frame id to (H, W) of its image.

    Raises:
        ValueError: a camera that cannot be that of an image of this size.
    """
    doubts = {}
    for frame_id, size in sizes.items():
        if frame_id in cameras:
            try:
                doubt = check_camera(*cameras[frame_id], size)
            except ValueError as error:
                raise ValueError(f'{root / CAMERAS}, frame {frame_id!r}: {error}') from None
            if doubt is not None:
                doubts[frame_id] = doubt
    return doubts


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f'{twice!r} is there twice')
    return content
