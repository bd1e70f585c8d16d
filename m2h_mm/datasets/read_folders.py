"""The folders of a data set in which a file of anybody else's would be taken for its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset


def read_folders(dataset: Dataset, infos: Sequence[Mapping[str, Any]]) -> set[Path]:
    """Folders of the images and labels of some frames; not the data set's own, though images may
    stand right in it.

    Args:
        dataset: its ``data_root`` is looked at, where it has one.
        infos: what :meth:`get_data_info` says of the frames; ``img_path`` and ``label_paths`` are
            looked at.
    """
    files = [file for info in infos for file in info.get('label_paths', {}).values()]
    files += [info['img_path'] for info in infos if info.get('img_path')]
    root = getattr(dataset, 'data_root', None)
    return {Path(file).parent for file in files} - ({Path(root)} if root else set())
