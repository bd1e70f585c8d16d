"""The work dir of a training, which belongs to it alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from m2h_mm.engine.checkpoint_search import POINTER, run_of
from m2h_mm.engine.distributed import join_processes
from m2h_mm.system.locks import exclusive

_CHECKPOINT = re.compile(r'(best_.+_)?(iter|epoch)_\d+\.pth')
_SHOWN = 3


@contextmanager
def work_dir_of_one_training(cfg: Config, overwrite: bool = False) -> Iterator[None]:
    """Within it, no other training writes to ``cfg.work_dir``; checkpoints of another are safe.

    The processes of one training share it: the first of them decides.

    Args:
        cfg: of the training.
        overwrite: delete the checkpoints of the training before.

    Raises:
        ValueError: another training is writing there, or has left checkpoints that this one does
            not go on from.
    """
    join_processes(cfg.get('launcher', 'none'), **(cfg.get('env_cfg') or {}).get('dist_cfg', {}))
    with ExitStack() as stack:
        decided: list = [None]
        if is_main_process():
            try:
                stack.enter_context(
                    exclusive(
                        cfg.work_dir,
                        f'--work-dir: another training is writing to {cfg.work_dir}. Wait for it, '
                        'end it, or choose another --work-dir.',
                    )
                )
                _keep_apart(cfg, overwrite)
            except (ValueError, OSError) as error:
                decided = [error]
        broadcast_object_list(decided)
        if decided[0] is not None:
            raise decided[0]
        yield


def _keep_apart(cfg: Config, overwrite: bool) -> None:
    """Refuse a folder with checkpoints of another training, or delete them."""
    folder = _checkpoint_folder(cfg)
    found = sorted(path for path in folder.glob('*.pth') if _CHECKPOINT.fullmatch(path.name))
    if not found or (cfg.get('resume') and not _from_elsewhere(cfg, folder, found[-1])):
        return
    if not overwrite:
        names = ', '.join(path.name for path in found[:_SHOWN])
        raise ValueError(
            f'--work-dir: {folder} has checkpoints of another training: {names}'
            f'{", ..." if len(found) > _SHOWN else ""}. Add --resume to go on with it, choose '
            'another --work-dir, or add --overwrite to delete them.'
        )
    source = cfg.get('load_from')
    if source and Path(source).resolve().parent == folder.resolve():
        raise ValueError(
            f'--overwrite: {source}, with which the training begins, is one of the checkpoints '
            'that it would delete. Choose another --work-dir.'
        )
    print_log(f'--overwrite: {len(found)} checkpoints in {folder} are deleted.', 'current')
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (Path(cfg.work_dir) / POINTER).unlink(missing_ok=True)


def _from_elsewhere(cfg: Config, folder: Path, one: Path) -> bool:
    """Whether the checkpoint that is resumed is of another training than those in the folder."""
    source = cfg.get('load_from')
    if not source or Path(source).resolve().parent == folder.resolve():
        return False
    run = run_of(Path(source))
    return run is None or run != run_of(one)


def _checkpoint_folder(cfg: Config) -> Path:
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    out_dir = hook.get('out_dir')  # mmengine makes a folder in it
    work_dir = Path(cfg.work_dir)
    return work_dir if out_dir is None else Path(out_dir, work_dir.name)
