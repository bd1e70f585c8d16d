"""The copy of its config that a run keeps in its work dir."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config


def copy_by_time(cfg: Config) -> Config:
    """A config whose copy mmengine calls by the time of the run. By the name of its file it would
    replace the copy of another run: that of the training, when its model is tested.
    """
    return Config(cfg.to_dict())


def spare_file(cfg: Config) -> Config:
    """The same, if the copy would replace the config itself, as one that lies in its work dir."""
    path = cfg.filename and Path(cfg.work_dir).resolve() / Path(cfg.filename).name
    return copy_by_time(cfg) if path and path.exists() and path.samefile(cfg.filename) else cfg
