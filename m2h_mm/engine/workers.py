"""Settings of data loaders that need worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# What torch refuses without workers.
_OF_WORKERS = ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context')


def leave_out_workers(cfg: Config) -> None:
    """Take out of each data loader without workers what is said of them.

    So ``--cfg-options train_dataloader.num_workers=0`` is enough to load in the process itself,
    where a debugger sees it.
    """
    for loader in _loaders(cfg):
        if loader.get('num_workers', 0) == 0:
            for key in _OF_WORKERS:
                loader.pop(key, None)


def _loaders(cfg: Config) -> Iterator[dict[str, Any]]:
    for name in LOADERS:
        loaders = cfg.get(name)
        for loader in loaders if isinstance(loaders, (list, tuple)) else [loaders]:
            if isinstance(loader, dict):
                yield loader
