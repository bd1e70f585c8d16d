"""Files with parts of a user's own, imported by their path instead of a module's name."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from mmengine.registry import Registry
from mmengine.utils import import_modules_from_strings

from m2h_mm import registry

# How a file stands among the imports of a config: its path, and the beginning of its digest.
_ENTRY = re.compile(r'(?P<path>.+\.py)@(?P<digest>[0-9a-f]{12})')
# Before the names of the modules that the files become.
_PREFIX = '_part_file_'


def file_entry(path: str | Path) -> str:
    """What names a file in ``custom_imports.imports``: ``/folder/my_part.py@0123456789ab``.

    The path is absolute, so that every process finds it whatever its folder and ``PYTHONPATH``. The
    digest is of the content: a config means the file as it was, not one that was edited since.
    """
    path = Path(path).resolve()
    return f'{path}@{_digest(path)}'


def import_modules(
    imports: str | Sequence[str] | None, allow_failed_imports: bool = False
) -> list[ModuleType | None]:
    """What ``custom_imports`` of a config asks for: modules by their names, files as of
    :func:`file_entry`.

    Raises:
        ValueError: see :func:`import_file`.
        ImportError: a module that cannot be imported, unless ``allow_failed_imports``.
    """
    imports = [imports] if isinstance(imports, str) else imports or []
    if not isinstance(imports, (list, tuple)):
        return import_modules_from_strings(imports, allow_failed_imports)  # which refuses it
    modules = []
    for name in imports:
        if isinstance(name, str) and _ENTRY.fullmatch(name):
            modules.append(import_file(name))
        else:
            modules += import_modules_from_strings([name], allow_failed_imports)
    return modules


def import_file(entry: str) -> ModuleType:
    """The module of a file, see :func:`file_entry`; one that was imported before is not run again,
    and one that was edited since takes the place of what it was.

    Raises:
        ValueError: the file is not there, is another one by now, or raises an error when it runs.
    """
    match = _ENTRY.fullmatch(entry)
    path, digest = Path(match['path']), match['digest']
    name = f'{_PREFIX}{path.stem}_{digest}'
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise ValueError(
            f'{path}: there is no such file any more. It has parts of a model; put it back, or '
            'give its new path in custom_imports of the config.'
        )
    if _digest(path) != digest:
        raise ValueError(
            f'{path} has been changed since the config that names it was written ({digest} then, '
            f'{_digest(path)} now). Put the file back as it was. For the new one begin afresh, in '
            'a sweep with --force or another --work-dir.'
        )
    for older in [each for each in sys.modules if each.startswith(f'{_PREFIX}{path.stem}_')]:
        if sys.modules[older].__file__ == str(path):
            _forget(older)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and the like look for it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        _forget(name)
        line = _line_of(error, path)
        raise ValueError(
            f'{path}{line} cannot be imported: {type(error).__name__}: {error}'
        ) from error
    return module


def is_of_file(cls: type) -> bool:
    """Whether a class was imported by :func:`import_file`."""
    return cls.__module__.startswith(_PREFIX)


def registered_by(module: ModuleType) -> dict[str, type]:
    """The classes that a module has registered anywhere, by the names that configs give them."""
    return {
        name: cls
        for place in vars(registry).values()
        if isinstance(place, Registry)
        for name, cls in place.module_dict.items()
        if getattr(cls, '__module__', None) == module.__name__
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _forget(name: str) -> None:
    """Take back what a file has registered, and its module."""
    module = sys.modules.pop(name)
    for place in vars(registry).values():
        if isinstance(place, Registry):
            for key in registered_by(module):
                if getattr(place.module_dict.get(key), '__module__', None) == name:
                    del place.module_dict[key]


def _line_of(error: Exception, path: Path) -> str:
    """``:12`` where an error says which line of the file it is about."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f':{error.lineno}'
    lines, traceback = [], error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(path):
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return f':{lines[-1]}' if lines else ''
