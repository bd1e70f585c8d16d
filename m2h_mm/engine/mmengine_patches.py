"""What is changed of mmengine, and why.

Written for mmengine 0.10.7 and onedl-mmengine 0.10.12. Nothing is changed by importing this:
programs call :func:`install` once, tests run within :func:`installed`.

- :func:`checkpoints_run_no_code`: a checkpoint from a stranger runs no code.
- :func:`files_are_whole`: a training that is killed leaves no half of a checkpoint or a config.
- :func:`logs_may_end`: a full disk ends a log, not what is logged.
- :func:`files_can_be_imported`: ``custom_imports`` of a config may name a file by its path.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.config import Config
from mmengine.config import config as config_reading
from mmengine.dist import barrier, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio.backends import backends
from mmengine.fileio.io import backend_instances
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader

from m2h_mm.structures.checkpoint_file import known_types, read_checkpoint, refuse_code
from m2h_mm.structures.weights import require_weights
from m2h_mm.system import environment, write_atomically
from m2h_mm.system.files import not_written

from .part_files import import_modules

_undo: ExitStack | None = None  # None: nothing is changed


def install() -> None:
    """Change mmengine for the rest of this process; nothing if it is changed already."""
    global _undo
    if _undo is None:
        with ExitStack() as stack:
            stack.enter_context(checkpoints_run_no_code())
            stack.enter_context(files_are_whole())
            stack.enter_context(logs_may_end())
            stack.enter_context(files_can_be_imported())
            _undo = stack.pop_all()


def is_installed() -> bool:
    """Whether mmengine is changed."""
    return _undo is not None


@contextmanager
def installed() -> Iterator[None]:
    """Within it mmengine is changed; behind it, it is as it was before."""
    global _undo
    was_installed = is_installed()
    install()
    try:
        yield
    finally:
        if not was_installed and _undo is not None:
            undo, _undo = _undo, None
            undo.close()


@contextmanager
def checkpoints_run_no_code() -> Iterator[None]:
    """What mmengine loads is read as by :func:`~m2h_mm.structures.read_checkpoint`.

    A file without weights is refused by name.

    mmengine tries ``weights_only=True`` and, where that is refused, runs what is in the file; its
    ``Runner.resume`` runs a config that it finds in a checkpoint. This is for whoever loads through
    it: ``--resume``, ``load_from``, ``init_cfg``, the backbones of mmseg.
    """
    plain, schemes = vars(CheckpointLoader)['load_checkpoint'], CheckpointLoader._schemes

    def load_checkpoint(
        cls: type, filename: str, map_location: Any = None, logger: Any = 'current'
    ) -> Any:
        try:
            # By it torch.load has weights_only=True, also where its caller says False.
            with environment(TORCH_FORCE_WEIGHTS_ONLY_LOAD='1'), known_types():
                content = plain.__func__(cls, filename, map_location, logger)
        except UnpicklingError as error:
            raise refuse_code(filename, error) from error
        require_weights(content, filename)
        if isinstance(content.get('meta'), dict):
            # What Runner.resume would run; mmengine itself saves none under this name any more.
            content['meta'].pop('config', None)
        return content

    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)
    # mmengine's loaders would not say which file is damaged, and know no safetensors.
    CheckpointLoader._schemes = {
        **schemes,
        '': load_from_local,
        **dict.fromkeys(('http://', 'https://'), load_from_http),
    }
    try:
        yield
    finally:
        CheckpointLoader.load_checkpoint, CheckpointLoader._schemes = plain, schemes


def load_from_local(filename: str, map_location: Any = None) -> Any:
    """The loader for what is on the disk; mmengine logs the name behind ``load_from_``."""
    return read_checkpoint(Path(filename).expanduser(), map_location)


def load_from_http(filename: str, map_location: Any = None) -> Any:
    """The loader for URLs: the file is kept where torch.hub keeps those of its own."""
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(filename).path).name)
    if is_main_process() and not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(filename, str(path))
    barrier()
    return read_checkpoint(path, map_location)


@contextmanager
def files_are_whole() -> Iterator[None]:
    """What mmengine writes to the disk is whole or not there.

    mmengine writes in place: a training that is killed meanwhile leaves half of a checkpoint under
    the name of a whole one.
    """
    plain, dump = backends['local'], Config.dump

    def dump_atomically(self: Config, file: str | Path | None = None) -> str | None:
        if file is None or Path(file).suffix != '.py':
            return dump(self, file)
        write_atomically(file, self.pretty_text)
        return None

    _replace_local_backend(AtomicBackend)
    Config.dump = dump_atomically
    try:
        yield
    finally:
        _replace_local_backend(plain)
        Config.dump = dump


def _replace_local_backend(backend: type[LocalBackend]) -> None:
    register_backend('local', backend, force=True, prefixes='')
    backend_instances.clear()  # mmengine keeps one of each, of the class that was there before


class AtomicBackend(LocalBackend):
    """The disk, where a file is replaced at once when all of it is written."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        try:
            write_atomically(filepath, obj, durable=True)
        except OSError as error:
            way_out = 'A training goes on from its last whole checkpoint with --resume.'
            raise OSError(error.errno, f'{error.strerror} {way_out}') from error


@contextmanager
def logs_may_end() -> Iterator[None]:
    """What cannot be written to a log file is said once, in a line; Python would print a stack for
    every line of the log.
    """
    plain = MMLogger.__init__

    def init(self: MMLogger, *args, **kwargs) -> None:
        plain(self, *args, **kwargs)
        for handler in self.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handleError = partial(_say_once, handler, [])

    MMLogger.__init__ = init
    try:
        yield
    finally:
        MMLogger.__init__ = plain


@contextmanager
def files_can_be_imported() -> Iterator[None]:
    """``custom_imports`` takes files as well, see :mod:`m2h_mm.engine.part_files`: a run's config
    then is enough to find a part of a user's own, whatever the process that reads it can import.
    """
    plain = config_reading.import_modules_from_strings
    config_reading.import_modules_from_strings = import_modules
    try:
        yield
    finally:
        config_reading.import_modules_from_strings = plain


def _say_once(handler: logging.FileHandler, said: list[str], record: logging.LogRecord) -> None:
    error = sys.exc_info()[1]
    if not isinstance(error, OSError):
        logging.FileHandler.handleError(handler, record)
    elif not said:
        said.append(error.strerror)
        message = not_written(handler.baseFilename, error).strerror
        print(f'{message} This goes on; its log ends here.', file=sys.stderr)
