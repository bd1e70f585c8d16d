"""A check that a config from a stranger's checkpoint names registered modules only."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.registry import Registry

from m2h_mm.registry import MODELS, SCOPE, TASKS

# Packages whose modules may be parts of a model. No other one is imported for a checkpoint.
KNOWN_SCOPES = ('mmengine', 'mmcv', 'mmseg', 'mmdet', 'mmpretrain')


def require_registered_types(
    model: Mapping[str, Any], tasks: Mapping[str, Any], path: str | Path, way_out: str
) -> None:
    """Refuse a model that has parts which are not registered.

    ``Registry.get``, by which a model is built, imports and returns whatever a dotted name stands
    for, be it ``os.system``: it is not asked here, and sees only names that passed.

    Args:
        model: config of the model.
        tasks: name to arguments of its tasks.
        path: where it was read, for the message.
        way_out: what to do, for the message.

    Raises:
        ValueError: there are such parts; each is named.
    """
    parts = {key: value for key, value in model.items() if key != 'tasks'}
    unknown = [
        f'{key}={name!r}'
        for key, name, scopes in _types(parts, 'model', ())
        if not any(_is_registered(MODELS, name, scope) for scope in (None, *scopes))
    ]
    for name, arguments in tasks.items():
        kind = arguments.get('type', name) if isinstance(arguments, Mapping) else name
        if not _is_registered(TASKS, kind):
            unknown.append(f'tasks.{name}.type={kind!r}')
    if unknown:
        raise ValueError(
            f'{path}: its model has types that are not registered: {unknown}. {way_out}'
        )


def _types(node: Any, key: str, scopes: tuple[str, ...]) -> Iterator[tuple[str, Any, tuple]]:
    """Key, value and enclosing scopes of every ``type`` and ``_scope_`` in a config."""
    if isinstance(node, Mapping):
        if '_scope_' in node:  # mmengine would import the package of that name
            scope = node['_scope_']
            known = scope in (SCOPE, *KNOWN_SCOPES)
            yield f'{key}._scope_', 'MultiTaskModel' if known else scope, ()
        if 'type' in node:
            yield f'{key}.type', node['type'], scopes
            # Parts of a module of another package are looked up there.
            head, dot, _ = str(node['type']).partition('.')
            scopes = (head, *scopes) if dot else scopes
        for name, item in node.items():
            yield from _types(item, f'{key}.{name}', scopes)
    elif isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _types(item, f'{key}[{index}]', scopes)


def _is_registered(registry: Registry, name: Any, within: str | None = None) -> bool:
    if not isinstance(name, str):
        return False
    scope, _, key = name.rpartition('.')
    scope = scope or within or SCOPE
    if scope in KNOWN_SCOPES:
        try:
            importlib.import_module('mmcv.cnn' if scope == 'mmcv' else f'{scope}.registry')
        except ImportError:
            return False
        root = registry.root
        # A package that registers with mmengine's own registries has no child of its own.
        return _has(root.children.get(scope, root), key)
    if scope != SCOPE:
        return False
    if _has(registry, key):
        return True
    importlib.import_module('mmcv.cnn')  # registers norms and activations with mmengine
    return _has(registry, key)


def _has(registry: Registry | None, key: str) -> bool:
    """Whether a registry, or one above it, holds a module of that name."""
    while registry is not None:
        registry.import_from_location()
        if key in registry.module_dict:
            return True
        registry = registry.parent
    return False
