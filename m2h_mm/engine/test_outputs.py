"""What a test writes of every frame, looked at before its first one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.runner import Runner

from m2h_mm.datasets.read_folders import read_folders
from m2h_mm.system.outputs import require_free


def require_free_outputs(runner: Runner, suffixes: Mapping[Path, str], overwrite: bool) -> None:
    """Raise unless a file of every frame may be written into each of the folders.

    One process looks for all: another one could meet what the first has written already.

    Args:
        runner: with the data set that is to be tested. Nothing is written into the folders of its
            images and labels, where it would be taken for one.
        suffixes: folder to the ending of the files, ``<folder>/<frame id><suffix>``.
        overwrite: whether other files may be replaced.

    Raises:
        FileExistsError: a file is there already; or, of a data set that does not know its frames'
            ids beforehand, any file of the ending.
        ValueError: see :func:`~m2h_mm.system.outputs.require_free`.
    """
    error: list[Exception | None] = [None]
    if is_main_process():
        try:
            _require_free(runner, suffixes, overwrite)
        except (OSError, ValueError) as found:
            error[0] = found
    broadcast_object_list(error)
    if error[0] is not None:
        raise error[0]


def _require_free(runner: Runner, suffixes: Mapping[Path, str], overwrite: bool) -> None:
    dataset = runner.test_dataloader.dataset
    if not hasattr(dataset, 'get_data_info'):
        there = [path for folder, suffix in suffixes.items() for path in folder.rglob(f'*{suffix}')]
        require_free(there, overwrite=overwrite)
        return
    frames = [dataset.get_data_info(index) for index in range(len(dataset))]
    # A list may name a frame twice.
    ids = dict.fromkeys(frame['frame_id'] for frame in frames if 'frame_id' in frame)
    files = [folder / f'{name}{suffix}' for name in ids for folder, suffix in suffixes.items()]
    require_free(files, read_folders(dataset, frames), overwrite)
