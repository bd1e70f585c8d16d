"""Overrides, merged into a config as a config with a `_base_` would merge them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.utils import import_modules_from_strings

from .config_check import check_overrides


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
            :func:`~m2h_mm.engine.config_check.check_overrides`.
    """
    nested = _nest(overrides)
    if 'custom_imports' in nested:
        import_modules_from_strings(**nested['custom_imports'])
    check_overrides(nested, cfg._cfg_dict)
    merged = Config._merge_a_into_b(
        copy.deepcopy(nested), copy.deepcopy(cfg._cfg_dict), allow_list_keys=True
    )
    return Config(_without_marks(merged), filename=cfg.filename)


def check_options(options: Mapping, cfg: Config) -> None:
    """Refuse ``--cfg-options`` that would change nothing, see
    :func:`~m2h_mm.engine.config_check.check_overrides`.

    Raises:
        ValueError: a key that does not exist, or a variable of the config file.
    """
    try:
        check_overrides(_nest(options), cfg._cfg_dict)
    except ValueError as error:
        raise ValueError(f'--cfg-options {error}') from error


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
