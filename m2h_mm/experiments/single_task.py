"""A config restricted to some of its tasks: the single-task models that the multi-task gain refers
to.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from m2h_mm.engine.config_check import class_arguments
from m2h_mm.registry import METRICS, MODELS
from m2h_mm.tasks import Task, build_tasks

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
EVALUATORS = ('val_evaluator', 'test_evaluator')


class _Nothing:
    """Stands for a part that no task is left for."""


def restrict_tasks(cfg: Config, tasks: Sequence[str]) -> Config:
    """The same config with some of its tasks only.

    Whatever part is in ``model``, each dict in it whose keys are task names and each list of task
    names loses the other tasks: ``tasks``, ``heads``, ``losses``, weights. A part whose ``tasks``
    were named and are all gone is left out (``merger=None``); any other list that would be empty is
    left to its default. Consistency losses that need a task that is gone are left out, so are
    metrics of one. Data sets load the remaining labels alone; a ``RandomCrop`` with a
    ``cat_max_ratio`` therefore looks at the segmentation only if it is among them.

    One task alone has nobody to exchange with: a decoder's ``interaction`` becomes
    ``NoInteraction``.

    ``default_hooks.checkpoint.save_best`` becomes the headline metric of the first remaining task
    if it was the metric of another one.

    Args:
        cfg: config of a ``MultiTaskModel`` with its data and evaluators. Not changed.
        tasks: names, at least one; the order stays that of ``model.tasks``.

    Raises:
        ValueError: a name that is not in ``model.tasks``, or none.
    """
    cfg = copy.deepcopy(cfg)
    names = list(cfg.model.tasks)
    unknown = [name for name in tasks if name not in names]
    if unknown or not tasks:
        close = difflib.get_close_matches(unknown[0], names, n=1) if unknown else []
        hint = f' Did you mean {close[0]!r}?' if close else ''
        raise ValueError(f'tasks: expected some of model.tasks, {names}, got {list(tasks)}.{hint}')
    gone = {name for name in names if name not in tasks}
    kept = build_tasks(
        {name: args for name, args in _as_dict(cfg.model.tasks).items() if name not in gone}
    )

    cfg.model.consistency = [
        part
        for part in cfg.model.get('consistency') or ()
        if gone.isdisjoint(MODELS.get(part['type']).tasks)
    ]
    cfg.model = {
        key: value if key == 'consistency' else _restrict(value, key, set(names), gone)
        for key, value in cfg.model.items()
    }
    if (
        len(kept) == 1
        and 'interaction' in class_arguments(MODELS.get(cfg.model.decoder['type']))[0]
    ):
        cfg.model.decoder.interaction = dict(type='NoInteraction')
    for key in DATALOADERS:
        if cfg.get(key):
            _restrict_dataset(cfg[key]['dataset'], names, gone)
    for key in EVALUATORS:
        if cfg.get(key):
            cfg[key] = _restrict_evaluator(cfg[key], gone)
    _choose_best(cfg, kept, gone)
    return cfg


def _as_dict(tasks: Mapping | Sequence[str]) -> dict:
    return dict(tasks) if isinstance(tasks, Mapping) else dict.fromkeys(tasks)


def _restrict(value: Any, key: str, names: set[str], gone: set[str]) -> Any:
    """``value``, which stands under ``key``, without the tasks that are gone; ``_Nothing`` if there
    is no more.
    """
    if isinstance(value, Mapping):
        if value and set(value) <= names:
            value = {name: item for name, item in value.items() if name not in gone}
        restricted = {name: _restrict(item, name, names, gone) for name, item in value.items()}
        if restricted.get('tasks') is _Nothing:
            return None
        return {name: item for name, item in restricted.items() if item is not _Nothing}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(item, str) for item in value) and set(value) <= names:
            return type(value)(item for item in value if item not in gone) or _Nothing
        restricted = [(item, _restrict(item, key, names, gone)) for item in value]
        return type(value)(
            after for before, after in restricted if after is not None or before is None
        )
    return value


def _restrict_dataset(dataset: Mapping, names: Sequence[str], gone: set[str]) -> None:
    """In place, also inside ``ConcatDataset`` and ``RepeatDataset``."""
    inner = [*dataset.get('datasets', ()), *([dataset['dataset']] if 'dataset' in dataset else [])]
    for part in inner:
        _restrict_dataset(part, names, gone)
    if inner:
        return
    tasks = dataset.get('tasks')
    if isinstance(tasks, Mapping):
        dataset['tasks'] = {name: args for name, args in tasks.items() if name not in gone}
    else:
        dataset['tasks'] = [
            name for name in (names if tasks is None else tasks) if name not in gone
        ]


def _restrict_evaluator(evaluator: Any, gone: set[str]) -> Any:
    """An evaluator, a metric, a list of metrics or a dict of them, without the metrics of tasks
    that are gone.
    """
    if isinstance(evaluator, Mapping) and 'metrics' in evaluator:
        return {**evaluator, 'metrics': _restrict_evaluator(evaluator['metrics'], gone)}
    if isinstance(evaluator, Mapping) and 'type' not in evaluator:
        return {
            name: metric
            for name, metric in evaluator.items()
            if metric is None or _prefix(metric) not in gone
        }
    metrics = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]
    return [metric for metric in metrics if _prefix(metric) not in gone]


def _prefix(metric: Mapping) -> str | None:
    return metric.get('prefix') or getattr(METRICS.get(metric['type']), 'default_prefix', None)


def _choose_best(cfg: Config, kept: Mapping[str, Task], gone: set[str]) -> None:
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    best = checkpoint.get('save_best')
    best = [best] if isinstance(best, str) else list(best or ())
    remaining = [metric for metric in best if metric.split('/')[0] not in gone]
    if remaining and len(remaining) < len(best):
        checkpoint.update(save_best=remaining)
    elif best and not remaining:
        name, task = next(iter(kept.items()))
        checkpoint.update(
            save_best=f'{name}/{task.metric}', rule='greater' if task.higher_is_better else 'less'
        )
