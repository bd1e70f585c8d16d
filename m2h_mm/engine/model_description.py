"""The description of a model in its checkpoint: tasks, classes and config, as plain data."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from m2h_mm import __version__
from m2h_mm.registry import DATASETS, MODELS
from m2h_mm.tasks import build_tasks
from m2h_mm.tasks.view import build_view

from .registered_types import require_registered_types

META_KEY = 'm2h_mm'
"""Under this key of a checkpoint's ``meta`` stands its description."""
FORMAT = 1
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class ModelDescription:
    """All that is needed to build a model and to name what it predicts, without its config.

    Attributes:
        model: config of the model, with ``tasks`` and ``data_preprocessor``, plain data.
        classes: task to the names of its classes, of the tasks whose names are known.
        custom_imports: modules that the training's config imported. They are named in errors and
            never imported.
        version: of this package, that wrote the description.
    """

    model: dict[str, Any]
    classes: dict[str, list[str]] = field(default_factory=dict)
    custom_imports: list[str] = field(default_factory=list)
    version: str = __version__

    @property
    def tasks(self) -> dict[str, dict]:
        """Name to arguments of the model's tasks."""
        return self.model['tasks']

    def to_plain(self) -> dict[str, Any]:
        """What is stored: dicts, lists, numbers and text alone."""
        plain = copy.deepcopy(asdict(self))
        return dict(format=FORMAT, tasks=plain['model'].pop('tasks'), **plain)


def describe_model(cfg: Config, classes: Sequence[str] | None = None) -> ModelDescription:
    """The description of a config's model.

    Args:
        cfg: a config with its tasks and its preprocessing shared out.
        classes: names of the classes of the data set that it is trained on. Default: those that the
            class of its test data set states.

    Raises:
        ValueError: a value that is no plain data, by its key.
    """
    model = _to_plain(_described_by_parts(cfg['model']), 'model')
    model['tasks'] = {
        name: dict(model['tasks'][name] or {}) if isinstance(model['tasks'], dict) else {}
        for name in model['tasks']
    }
    names = list(_dataset_classes(cfg) if classes is None else classes)
    described = {}
    for name, task in build_tasks(model['tasks']).items():
        own = build_view(task).class_names(names)
        if own and len(own) == getattr(task, 'num_classes', None):
            described[name] = list(map(str, own))
    imports = (cfg.get('custom_imports') or {}).get('imports') or []
    return ModelDescription(
        model, described, [imports] if isinstance(imports, str) else list(map(str, imports))
    )


def read_description(content: Any, path: str | Path) -> ModelDescription | None:
    """The description in a checkpoint; None where there is none.

    Nothing of it is run, and no module is imported that is not part of this package or of
    OpenMMLab: what a model's config names has to be registered already.

    Args:
        content: of the checkpoint, read with ``weights_only=True``.
        path: of the checkpoint, for messages.

    Raises:
        ValueError: it was written by a later version, is damaged, or names types that are not
            registered.
    """
    meta = content.get('meta') if isinstance(content, Mapping) else None
    stored = meta.get(META_KEY) if isinstance(meta, Mapping) else None
    if stored is None:
        return None
    found = stored.get('format') if isinstance(stored, Mapping) else type(stored).__name__
    if found != FORMAT:
        raise ValueError(
            f"{path}: meta['{META_KEY}'] has the format {found!r}, this version of m2h_mm "
            f'({__version__}) reads {FORMAT}. Update m2h_mm, or pass the config that the model '
            'was trained with.'
        )
    model, tasks = stored.get('model'), stored.get('tasks')
    classes, imports = stored.get('classes'), stored.get('custom_imports')
    whole = all(isinstance(part, Mapping) for part in (model, tasks, classes)) and 'type' in model
    if not (whole and all(isinstance(item, list) for item in (imports, *classes.values()))):
        raise ValueError(
            f"{path}: meta['{META_KEY}'] is damaged: expected model, tasks, classes and "
            'custom_imports, as CheckpointHook writes them. Pass the config that the model was '
            'trained with.'
        )
    description = ModelDescription(
        model={**_to_plain(model, 'model'), 'tasks': _to_plain(tasks, 'tasks')},
        classes={str(name): list(map(str, own)) for name, own in classes.items()},
        custom_imports=list(map(str, imports)),
        version=str(stored.get('version')),
    )
    require_registered_types(description.model, description.tasks, path, _way_out(description))
    return description


def _described_by_parts(model: Any) -> dict[str, Any]:
    """A model's config in which each part that knows how says in full what it is.

    A part that is named by a folder or a model on the hub has to be built without them later: its
    class has a static method ``stored_config(cfg) -> cfg``.
    """
    stored = dict(model)
    for name, part in stored.items():
        kind = part.get('type') if isinstance(part, Mapping) else None
        cls = MODELS.get(kind) if isinstance(kind, str) else kind
        if hasattr(cls, 'stored_config'):
            stored[name] = cls.stored_config(part)
    return stored


def _to_plain(value: Any, key: str) -> Any:
    """``value`` as dicts, lists, tuples, numbers and text, without files of weights."""
    if isinstance(value, Mapping):
        return {
            str(name): _to_plain(item, f'{key}.{name}')
            for name, item in value.items()
            # The checkpoint holds the weights.
            if name not in ('init_cfg', 'pretrained')
        }
    if isinstance(value, (list, tuple)):
        return type(value)(_to_plain(item, f'{key}[{i}]') for i, item in enumerate(value))
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, type):
        # Configs may name a class itself.
        return value.__name__ if MODELS.module_dict.get(value.__name__) is value else _dotted(value)
    if not isinstance(value, _PLAIN):
        raise ValueError(
            f'{key}: expected numbers, text, lists and dicts, which a checkpoint can hold, got '
            f'{value!r}.'
        )
    return value


def _way_out(description: ModelDescription) -> str:
    imports = description.custom_imports
    if imports:
        return (
            f'It was trained with custom_imports {imports}: import these modules before, or pass '
            'the config that it was trained with, which imports them.'
        )
    return (
        f'It was written by m2h_mm {description.version}, this is {__version__}: import what '
        'defines them, or pass the config that it was trained with.'
    )


def _dotted(cls: type) -> str:
    return f'{cls.__module__}.{cls.__qualname__}'


def _dataset_classes(cfg: Config) -> Sequence[str]:
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    cls = DATASETS.get(dataset['type']) if isinstance(dataset.get('type'), str) else None
    stated = (dataset.get('metainfo') or {}).get('classes')
    return stated or getattr(cls, 'METAINFO', {}).get('classes') or ()
