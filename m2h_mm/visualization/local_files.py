"""Curves and pictures of a training as files in its work dir."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from mmengine.fileio import dump
from mmengine.logging import print_log
from mmengine.visualization import LocalVisBackend as MMEngineLocalVisBackend
from mmengine.visualization.vis_backend import force_init_env

from m2h_mm.registry import VISBACKENDS
from m2h_mm.system.files import append_line

from .drawing import save_picture


@VISBACKENDS.register_module()
class LocalVisBackend(MMEngineLocalVisBackend):
    """mmengine's ``LocalVisBackend``, in whose place it stands under this scope, for disks that may
    be full.

    A line of the curves is written as a whole or not at all, and so is a picture. What cannot be
    written is missing there, and the first of it is said in the log: a training that goes on is
    worth more than its curves. (The disk that is full for a checkpoint ends it.)

    Args:
        as of mmengine's.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._said = False

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs) -> None:
        """Write an RGB picture ``(H, W, 3)``, uint8."""
        try:
            save_picture(image, Path(self._img_save_dir, f'{name}_{step}.png'))
        except OSError as error:
            self._say(error)

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        try:
            append_line(file_path, dump(value_dict, file_format=file_format))
        except OSError as error:
            self._say(error)

    def _say(self, error: OSError) -> None:
        if not self._said:
            self._said = True
            print_log(
                f'{error.strerror} This goes on without; more of it is not said.',
                'current',
                logging.ERROR,
            )
