"""Parts of a user's own in a sweep: found by their files, and tried before the first run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from m2h_mm.engine.part_files import file_entry, import_file, is_of_file, registered_by
from m2h_mm.experiments.complexity import (
    build_without_weights,
    count_flops,
    fit_size,
    training_size,
)
from m2h_mm.models.building import build_part
from m2h_mm.registry import MODELS
from m2h_mm.structures.contracts import Weighting
from m2h_mm.system.spelling import did_you_mean

# A type that names its file: 'my_interaction.py:MyInteraction'.
_TYPE = re.compile(r'(?P<file>.+\.py):(?P<name>\w+)')


def import_parts(
    changes: Mapping, find: Callable[[str], Path | None]
) -> tuple[dict[str, Any], list[str]]:
    """Import the files that the types in ``changes`` name.

    Args:
        changes: overrides; a ``type`` may be ``'my_interaction.py:MyInteraction'``.
        find: the path of a file that is named so; None: there is none.

    Returns:
        ``changes`` with the classes' names alone, and what ``custom_imports.imports`` of a config
        needs for them.

    Raises:
        ValueError: no such file, one that cannot be imported, or that does not register the class.
    """
    entries: list[str] = []

    def visit(value: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            return {name: visit(item, f'{key}.{name}'.lstrip('.')) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(visit(item, f'{key}.{i}') for i, item in enumerate(value))
        match = _TYPE.fullmatch(value) if isinstance(value, str) else None
        if match is None or key.rpartition('.')[2] != 'type':
            return value
        entries.append(_import_part(match['file'], match['name'], key, find))
        return match['name']

    return visit(changes, ''), entries


def _import_part(file: str, name: str, key: str, find: Callable[[str], Path | None]) -> str:
    path = find(file)
    if path is None:
        raise ValueError(
            f'{key}: there is no file {file}, neither beside the spec or in a folder above it, nor '
            f'in {Path.cwd()}. Give its path.'
        )
    entry = file_entry(path)
    try:
        module = import_file(entry)
    except ValueError as error:
        raise ValueError(f'{key}: {error}') from error
    known = registered_by(module)
    if name not in known:
        there = isinstance(getattr(module, name, None), type)
        raise ValueError(
            f'{key}: {path} '
            + (f'has a class {name} but does not register it' if there else f'has no class {name}')
            + f'; it registers {sorted(known)}.{did_you_mean(name, known)} Put '
            f'@MODELS.register_module() from m2h_mm.registry above class {name}.'
        )
    return entry


def with_imports(cfg: Config, entries: list[str]) -> Config:
    """``cfg``, in place, whose ``custom_imports`` has ``entries``, too."""
    if entries:
        known = (cfg.get('custom_imports') or {}).get('imports') or []
        known = [known] if isinstance(known, str) else list(known)
        new = [entry for entry in dict.fromkeys(entries) if entry not in known]
        cfg.custom_imports = {**(cfg.get('custom_imports') or {}), 'imports': known + new}
    return cfg


def try_parts(cfg: Config) -> None:
    """Run a model once if its interaction or weighting is from a file that the spec names.

    Nothing is trained. A part that yields something else than its contract says is found here and
    not by the first run.

    Raises:
        ValueError: what the part yields, and what was expected.
    """
    decoder = cfg.model.get('decoder') or {}
    for key, part, attempt in (
        ('model.decoder.interaction', decoder.get('interaction'), _try_interaction),
        ('model.weighting', cfg.model.get('weighting'), _try_weighting),
    ):
        cls = MODELS.get(part['type']) if isinstance(part, Mapping) else None
        if cls is None or not is_of_file(cls):
            continue
        try:
            attempt(f'{key} ({part["type"]})', cfg)
        except Exception as error:
            if isinstance(error, ValueError) and str(error).startswith('model.'):
                raise
            raise ValueError(
                f'{key} ({part["type"]}), tried once: {type(error).__name__}: {error}'
            ) from error


def _try_interaction(owner: str, cfg: Config) -> None:
    model = build_without_weights(cfg)

    def compare(module: nn.Module, inputs: tuple, output: Any) -> None:
        given, found = ({key: _shape(x) for key, x in _items(maps)} for maps in (inputs[0], output))
        if given != found:
            raise ValueError(
                f'{owner}: expected {{task: (N, C, h, w)}} with the keys and shapes that it is '
                f'given, {given}; got {found or type(output).__name__}. Return a map of the same '
                'shape for every task.'
            )

    model.decoder.interaction.register_forward_hook(compare)
    count_flops(model, fit_size(model, training_size(cfg)))  # as the table of costs does


def _try_weighting(owner: str, cfg: Config) -> None:
    tasks = tuple(cfg.model.tasks)
    weighting = build_part(
        'model.weighting', cfg.model.weighting, 'the model', Weighting, tasks=tasks
    )
    parameter = nn.Parameter(torch.ones(3))
    losses = {task: (index + 1) * parameter.sum() for index, task in enumerate(tasks)}
    shared = ([parameter],) if getattr(weighting, 'shared', ()) else ()
    weighted = weighting(losses, *shared)
    found = {task: _shape(loss) for task, loss in _items(weighted)}
    if found != dict.fromkeys(tasks, ()):
        raise ValueError(
            f'{owner}: expected a dict of one scalar for each of {list(tasks)}, got '
            f'{found or type(weighted).__name__}. Return {{task: weighted loss}}.'
        )
    unknown = [task for task, _ in _items(weighting.weights) if task not in tasks]
    if not isinstance(weighting.weights, Mapping) or unknown:
        raise ValueError(
            f'{owner}.weights: expected the weights of the last call by task, of {list(tasks)}, '
            f'got {weighting.weights!r}.'
        )


def _items(maps: Any) -> list[tuple[Any, Any]]:
    return list(maps.items()) if isinstance(maps, Mapping) else []


def _shape(x: Any) -> tuple[int, ...] | str:
    return tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
