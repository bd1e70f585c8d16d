"""Overrides, merged into a config as a config with a `_base_` would merge them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict

from m2h_mm.system.spelling import did_you_mean

from .config_places import arguments, kind_of, runner_keys, untyped_keys
from .part_files import import_modules


def override(cfg: Config, overrides: Mapping) -> Config:
    """``cfg`` with ``overrides`` merged into it, as a config with a ``_base_`` would be; not in
    place.

    Args:
        cfg: the config.
        overrides: nested or, at the top, dotted: ``{'model.decoder.channels': 64}``.
            ``_delete_=True`` replaces a dict. A list is replaced, or changed at a position:
            ``{'param_scheduler.0.end': 10}``.

    Raises:
        ValueError: a key that does not exist, see
            :func:`check_overrides`.
    """
    nested = _nest(overrides)
    if 'custom_imports' in nested:
        import_modules(**nested['custom_imports'])
    check_overrides(nested, cfg._cfg_dict)
    merged = Config._merge_a_into_b(
        copy.deepcopy(nested), copy.deepcopy(cfg._cfg_dict), allow_list_keys=True
    )
    return Config(_without_marks(merged), filename=cfg.filename)


def check_options(options: Mapping, cfg: Config) -> None:
    """Refuse ``--cfg-options`` that would change nothing, see
    :func:`check_overrides`.

    Raises:
        ValueError: a key that does not exist, or a variable of the config file.
    """
    try:
        check_overrides(_nest(options), cfg._cfg_dict)
    except ValueError as error:
        raise ValueError(f'--cfg-options {error}') from error


def check_overrides(overrides: Mapping, base: Mapping) -> None:
    """Refuse keys that ``base`` does not have and that no class in their place takes.

    What is below ``_delete_=True`` replaces its counterpart, and a new dict with a ``type`` is a
    part of its own: both are left to :func:`~m2h_mm.engine.config_check.check_config`. Names of
    tasks are left to the model.

    Args:
        overrides: nested, ``_delete_`` as in a config with a ``_base_``.
        base: the config that they are for.

    Raises:
        ValueError: with the key and the closest one that exists; also for a variable of the config
            file, which has been used when the file was read, so that changing it has no effect.
    """
    unread = [key for key in overrides if key in base and key not in runner_keys()]
    if unread:
        raise ValueError(
            f'{unread[0]}: this is a variable of the config file, already put where it is used; '
            'another value here has no effect. Override the places that use it (see m2h-mm '
            'print-config).'
        )
    tasks = set(base.get('tasks') or base.get('model', {}).get('tasks') or ())
    _check_overrides(overrides, base, '', tasks)


def _check_overrides(overrides: Mapping, base: Any, path: str, tasks: set[str]) -> None:
    for key, value in overrides.items():
        here = f'{path}.{key}'.lstrip('.')
        if key == '_delete_':
            continue
        if isinstance(base, (list, tuple)):
            if not key.isdigit() or int(key) >= len(base):
                raise ValueError(
                    f'{here}: {path} is a list of {len(base)}; expected a position '
                    f'0..{len(base) - 1}, got {key!r}. To replace the list, give a list.'
                )
            old = base[int(key)]
            if not isinstance(value, Mapping) and not isinstance(base, tuple):
                raise ValueError(
                    f'{here}: one item of a list cannot be replaced, only keys of it; got '
                    f'{value!r}. Give the whole list, {path}.'
                )
        elif key in base:
            old = base[key]
        else:
            _check_new_key(key, value, here, path, {**base, **overrides}, base, tasks)
            continue
        if not isinstance(value, Mapping) or value.get('_delete_'):
            continue
        if not isinstance(old, (Mapping, list)):
            raise ValueError(
                f'{here}: {old!r} in the base config, which has no keys; got {dict(value)!r}. '
                'To put a dict in its place, give it _delete_=True.'
            )
        _check_overrides(value, old, here, tasks)


def _check_new_key(
    key: str, value: Any, here: str, path: str, part: Mapping, base: Mapping, tasks: set[str]
) -> None:
    if key == 'type' or key in tasks or path.split('.')[-1] == 'tasks':
        return
    kind = kind_of(path, part)
    if kind is not None:
        known, closed = arguments(kind, path)
    else:
        known = untyped_keys(path) if path else runner_keys()
        # Among parts, such as hooks or heads, a new one needs a type; a misspelt one has none.
        parts = base and all(isinstance(each, Mapping) and 'type' in each for each in base.values())
        incomplete = isinstance(value, Mapping) and 'type' not in value
        closed, known = known is not None or (parts and incomplete), known or set()
    if key in known or not closed:
        return
    raise ValueError(
        f'{here}: there is no such key in the base config'
        + (f', and {kind} has no argument {key!r}' if kind else '')
        + f'.{did_you_mean(key, known | set(base) | {"type", "_delete_"})}'
    )


def _nest(overrides: Mapping) -> dict:
    """Dotted keys at the top as nested dicts."""
    nested: dict = {}
    for key, value in overrides.items():
        for part in reversed(key.split('.')[1:]):
            value = {part: value}
        nested = Config._merge_a_into_b({key.split('.')[0]: copy.deepcopy(value)}, nested)
    return nested


def _without_marks(value: Any) -> Any:
    """``value`` without ``_delete_``, which has done its work."""
    if isinstance(value, Mapping):
        return ConfigDict(
            {key: _without_marks(item) for key, item in value.items() if key != '_delete_'}
        )
    if isinstance(value, (list, tuple)):
        return type(value)(_without_marks(item) for item in value)
    return value
