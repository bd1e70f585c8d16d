"""Reading one config file, and refusing keys at its top that nothing reads."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .config_places import runner_keys

# Two letters swapped, or one missing. Names of variables, such as train_pipeline, are further away.
TOO_SIMILAR = 0.85


def read_config(path: str | Path) -> Config:
    """Read a config file, and refuse keys that look as if they had an effect and have none.

    A config file may hold variables of its own beside the keys that are read. Two mistakes look the
    same: a key that is misspelt, and a new value for a variable of the ``_base_``, which has been
    put into its places when the ``_base_`` was read.

    Args:
        path: of the config file.

    Raises:
        ValueError: with the key, and what to write instead.
    """
    path, cfg, known = Path(path), Config.fromfile(path), runner_keys() | {'_base_'}
    for key in cfg:
        close = difflib.get_close_matches(key, known, n=1, cutoff=TOO_SIMILAR)
        if key not in known and close:
            raise ValueError(
                f'{path}: {key}: no such key is read at the top of a config. Did you mean '
                f'{close[0]!r}? A variable of your own needs a name that is less similar.'
            )
    if path.suffix == '.py':  # others have no variables
        _refuse_unused_variables(path, cfg, known)
    return cfg


def _refuse_unused_variables(path: Path, cfg: Config, known: set[str]) -> None:
    """Refuse variables that neither their own file nor one that inherits from it uses, if they are
    values for an inherited one, or have the name of a key, such as ``lr``, or nearly so.

    A file without a ``_base_`` may hold any, as those that mmengine writes into work dirs do.
    """
    places = dict(reversed([*_keys(cfg._cfg_dict, known)]))  # of several the first
    derived = ''  # text of the files that inherit from this one
    for file in _chain(path):
        if file.suffix != '.py':
            continue
        text = file.read_text(encoding='utf-8')
        assigned, used = _names(text)
        unused = [key for key in assigned - known - used if f'_base_.{key}' not in derived]
        bases = _bases(file) if unused else []
        # Reading them takes long, and most files have no such variable.
        inherited = set().union(
            *(Config.fromfile(base, import_custom_modules=False) for base in bases)
        )
        for key in unused if bases else ():
            close = difflib.get_close_matches(key, places, n=1, cutoff=TOO_SIMILAR)
            if key not in inherited and close:
                raise ValueError(
                    f'{file}: {key}: nothing uses this variable, so it has no effect. Did you mean '
                    f'{places[close[0]]}? A variable of your own needs a name that is less similar.'
                )
            if key in inherited:
                raise ValueError(
                    f'{file}: {key}: this is a variable of the _base_, already put where it is '
                    'used there; another value here has no effect. Override the places that use '
                    'it (see m2h-mm print-config).'
                )
        derived += text


def _keys(value: Any, known: set[str], path: str = '') -> Iterator[tuple[str, str]]:
    """Every key of a config that is read, and where it stands."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if path or key in known:
                here = f'{path}.{key}'.lstrip('.')
                yield from _keys(item, known, here)
                yield str(key), here
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _keys(item, known, f'{path}.{index}')


def _chain(path: Path) -> list[Path]:
    """A file, and those that it inherits from, each behind all that inherit from it."""
    return [path, *(file for base in _bases(path) for file in _chain(base))]


def _bases(path: Path) -> list[Path]:
    bases = Config._get_base_files(str(path)) if path.suffix == '.py' else []
    # Those of other packages, 'mmseg::...', have no variables of ours.
    return [(path.parent / base).resolve() for base in bases if '::' not in base]


def _names(text: str) -> tuple[set[str], set[str]]:
    """Variables that a file assigns at its top, and those that it reads anywhere."""
    tree = ast.parse(text)
    assigned = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    used = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return assigned, used
