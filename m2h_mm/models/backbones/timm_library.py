"""Importing timm, also where there is no torchvision that fits the installed torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

INSTALL = 'pip install --no-deps timm && pip install huggingface_hub safetensors pyyaml'
TORCHVISION = 'torchvision'


def import_timm() -> Any:
    """The library.

    timm's networks need nothing of torchvision, but its data pipelines do and are imported with
    them. torchvision is a risk: pip gets another torch with it, and a build for another torch
    cannot be imported. So where it cannot be imported, a stand-in is there while timm is.

    Raises:
        ImportError: timm is not installed, with what to do.
    """
    if sys.modules.get('timm') is not None:
        return sys.modules['timm']
    try:
        importlib.import_module(TORCHVISION)
        usable = True
    except Exception:  # a build for another torch raises RuntimeError
        usable = False
    try:
        if usable:
            return importlib.import_module('timm')
        with _stand_in():
            return importlib.import_module('timm')
    except ImportError as error:
        raise ImportError(
            f'TimmBackbone needs the package timm ({error}). Run: {INSTALL}. Without --no-deps pip '
            'gets torchvision with it, and with that perhaps another torch; timm works here '
            'without torchvision.'
        ) from error


@contextmanager
def _stand_in() -> Iterator[None]:
    """Within it, torchvision can be imported and holds nothing that works."""
    _forget()  # what a failed import has left
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition('.')[0] == TORCHVISION]:
        del sys.modules[name]


class _Finder(MetaPathFinder, Loader):
    """Makes each module of torchvision that timm cannot be imported without."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # timm knows how to do without torchvision.models.
        if name.partition('.')[0] != TORCHVISION or name.startswith(f'{TORCHVISION}.models'):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # an ordinary one

    def exec_module(self, module: ModuleType) -> None:
        def missing(name: str) -> type:
            if name.startswith('__'):
                raise AttributeError(name)
            return _Nothing(name, (), {})

        module.__getattr__ = missing


class _Nothing(type):
    """A class of torchvision that has no instances; the members of an enumeration are text."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith('__'):
            raise AttributeError(name)
        return f'{cls.__name__}.{name}'

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise ImportError(f'{cls.__name__} needs torchvision, which could not be imported.')
