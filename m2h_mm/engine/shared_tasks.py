"""The tasks that a config declares, given to its model, data sets and evaluators."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from m2h_mm.registry import DATASETS, EVALUATOR, MODELS
from m2h_mm.tasks import build_tasks

from .config_places import class_arguments

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
EVALUATORS = ('val_evaluator', 'test_evaluator')


def share_tasks(cfg: Config) -> Config:
    """Give the top-level ``tasks`` of a config to all that asks for them, in place.

    A config says once what is learned: ``tasks = dict(semseg=dict(num_classes=40), depth=dict())``.
    Here it becomes the argument ``tasks`` of

    - the model, which may not state other ones;
    - every data set, also inside ``MixedDataset``, ``ConcatDataset`` and ``RepeatDataset``. A data
      set that has fewer labels, or other ones, states its own. It may name them alone,
      ``tasks=['depth']``: their arguments are then those of the declaration;
    - the evaluators, unless they state their own. A ``MixedEvaluator`` that names no data sets gets
      the members of its dataloader's ``MixedDataset``, each with that member's tasks.

    A part whose class takes no argument ``tasks`` is left alone. A second call changes nothing.
    A config without a model and without ``tasks``, such as one of data alone, is left as it is.

    Args:
        cfg: as it was read. Its ``tasks`` may also stand in ``model`` alone.

    Returns:
        ``cfg`` itself.

    Raises:
        ValueError: a model without tasks, ``model.tasks`` that are not the declared ones, or a data
            set that states more classes than the model has.
    """
    tasks = declared_tasks(cfg)
    if tasks is None:
        return cfg
    cfg.tasks = tasks
    model = cfg.get('model')
    if model and _asks_for(MODELS, model):
        model['tasks'] = copy.deepcopy(tasks)
    for key in DATALOADERS:
        for dataset in leaf_datasets((cfg.get(key) or {}).get('dataset')):
            if _asks_for(DATASETS, dataset):
                dataset['tasks'] = _complete(dataset.get('tasks'), tasks)
                _require_known_classes(f'{key}.dataset', dataset, tasks)
    for key in EVALUATORS:
        evaluator = cfg.get(key)
        if isinstance(evaluator, Mapping) and _asks_for(EVALUATOR, evaluator):
            evaluator['tasks'] = _complete(evaluator.get('tasks'), tasks)
            # Without this key mmengine takes the evaluator for a metric.
            evaluator.setdefault('metrics', {})
            members = _members((cfg.get(key.replace('evaluator', 'dataloader')) or {}), tasks)
            if members and _asks_for(EVALUATOR, evaluator, 'datasets'):
                evaluator.setdefault('datasets', members)
    return cfg


def declared_tasks(cfg: Mapping) -> dict[str, dict] | None:
    """Name to arguments of the tasks that a config declares; None if it has no model either.

    Raises:
        ValueError: see :func:`share_tasks`.
    """
    model = cfg.get('model') or {}
    stated = [_by_name(part['tasks']) for part in (cfg, model) if part.get('tasks')]
    if not stated:
        if model and _asks_for(MODELS, model):
            raise ValueError(
                'tasks: expected what the model is to learn, at the top of the config, such as '
                'tasks = dict(semseg=dict(num_classes=40), depth=dict()), got none.'
            )
        return None
    if stated[0] != stated[-1]:
        raise ValueError(
            f'model.tasks: expected the tasks that the config declares at its top, {stated[0]}, '
            f'got {stated[-1]}. Change tasks and leave model.tasks out.'
        )
    return stated[0]


def leaf_datasets(dataset: Mapping | None) -> Iterator[Mapping]:
    """The data sets that hold frames: ``dataset`` itself, or those that it wraps or joins."""
    if not dataset:
        return
    inner = dataset.get('datasets') or []
    inner = [*(inner.values() if isinstance(inner, Mapping) else inner), dataset.get('dataset')]
    if not any(inner):
        yield dataset
    for part in inner:
        yield from leaf_datasets(part)


def _asks_for(registry: Registry, part: Mapping, argument: str = 'tasks') -> bool:
    kind = part.get('type')
    cls = registry.get(kind) if isinstance(kind, str) else kind
    return cls is not None and argument in class_arguments(cls)[0]


def _members(dataloader: Mapping, declared: Mapping[str, dict]) -> dict[str, dict]:
    """Of a ``MixedDataset``, by member: which of the declared tasks it has labels of."""
    datasets = (dataloader.get('dataset') or {}).get('datasets')
    if not isinstance(datasets, Mapping):
        return {}
    labelled = {
        name: {task for leaf in leaf_datasets(member) for task in leaf.get('tasks', declared)}
        for name, member in datasets.items()
    }
    return {
        name: dict(tasks=[task for task in declared if task in tasks])
        for name, tasks in labelled.items()
    }


def _require_known_classes(key: str, dataset: Mapping, declared: Mapping[str, dict]) -> None:
    """Raise a ValueError if a data set states more classes of a task than the model has outputs.

    Labels are not looked at again in every step: on a GPU a class without an output would end the
    training without a message that helps.
    """
    if dataset.get('class_space'):
        return  # its labels are mapped to other classes
    for name, stated in dataset['tasks'].items():
        if name not in declared or dict(stated or {}) == declared[name]:
            continue
        own, known = (
            len(build_tasks({name: arguments})[name].class_names({}))
            for arguments in (stated, declared[name])
        )
        if own > known:
            raise ValueError(
                f'{key}.tasks.{name}: the data set has {own} classes, but tasks.{name}, which '
                f'the model learns, {known}. Make them the same, or map the classes by '
                'class_space and class_map.'
            )


def _complete(stated: Any, declared: Mapping[str, dict]) -> dict[str, dict]:
    """What a part states, or all; names alone get the declared arguments."""
    if stated is None:
        stated = list(declared)
    if not isinstance(stated, Mapping):
        stated = {name: declared.get(name, {}) for name in stated}
    return copy.deepcopy(dict(stated))


def _by_name(tasks: Mapping[str, Mapping | None] | Sequence[str]) -> dict[str, dict]:
    """Name to arguments, also of a list of names or of None in place of no arguments.

    Raises:
        ValueError: arguments that are no dict.
    """
    items = tasks.items() if isinstance(tasks, Mapping) else ((name, None) for name in tasks)
    built = {}
    for name, args in items:
        if args is not None and not isinstance(args, Mapping):
            raise ValueError(
                f'tasks.{name}: expected the arguments of a task, such as dict(max_depth=10.0), '
                f'got {args!r}.'
            )
        built[name] = dict(args or {})
    return built
