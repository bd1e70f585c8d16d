"""Ablations: small files of overrides, each of which changes one thing in any config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from m2h_mm.system.spelling import did_you_mean

from .config_files import CONFIGS
from .config_override import override

ABLATIONS = CONFIGS / 'ablations'


def ablation_names() -> list[str]:
    """The ablations that come with this project."""
    return sorted(path.stem for path in ABLATIONS.glob('*.py'))


def find_ablation(name: str | Path) -> Path:
    """The file of an ablation.

    Args:
        name: one of :func:`ablation_names`, or the path of a file.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(name)
    for found in (path, CONFIGS.parent / path, ABLATIONS / f'{name}.py'):
        if found.suffix == '.py' and found.is_file():
            return found
    raise FileNotFoundError(
        f'There is no ablation {name}, neither as a path nor by that name in {ABLATIONS}.'
        + (did_you_mean(name, ablation_names()) or f' There are {ablation_names()}.')
    )


def apply_ablation(cfg: Config, name: str | Path) -> Config:
    """``cfg`` with one thing changed; not in place.

    An ablation is a file of overrides without a ``_base_``, so that it fits any config that has
    what it changes::

        # configs/ablations/interaction_none.py
        model = dict(decoder=dict(interaction=dict(_delete_=True, type='NoInteraction')))

    Args:
        cfg: the config, as it was read.
        name: see :func:`find_ablation`.

    Raises:
        FileNotFoundError: there is no such ablation.
        ValueError: a file with a ``_base_``, which is a config of its own; a config without the
            part that is to be changed; one that has the values already.
    """
    path = find_ablation(name)
    if Config._get_base_files(str(path)):
        raise ValueError(
            f'--ablation {name}: {path} has a _base_, so it is a config of its own. Name it in '
            'place of the config, or leave its _base_ out to apply it to others.'
        )
    changes = Config.fromfile(path)._cfg_dict
    where = f'--ablation {name} on {cfg.filename or "this config"}'
    try:
        _require_what_is_taken_away(changes, cfg._cfg_dict, '')
        changed = override(cfg, changes)
    except ValueError as error:
        raise ValueError(f'{where} finds nothing to change: {error}') from error
    if changed.to_dict() == cfg.to_dict():
        raise ValueError(f'{where} changes nothing: the config has these values already.')
    return changed


def apply_ablations(cfg: Config, names: Sequence[str | Path]) -> Config:
    """Several, one after the other; see :func:`apply_ablation`."""
    for name in names:
        cfg = apply_ablation(cfg, name)
    return cfg


def _require_what_is_taken_away(changes: Mapping, cfg: Any, path: str) -> None:
    """Refuse to empty what is not there: without it the config would stay as it is in effect."""
    for key, value in changes.items():
        here = f'{path}.{key}'.lstrip('.')
        if key not in cfg and (value is None or value in ([], (), {})):
            raise ValueError(f'{here}: the config has none.')
        if isinstance(value, Mapping) and isinstance(cfg.get(key), Mapping):
            _require_what_is_taken_away(value, cfg[key], here)
