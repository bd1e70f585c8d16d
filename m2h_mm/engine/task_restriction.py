"""A config restricted to some of its tasks, down to the single-task models of a comparison."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from m2h_mm.evaluation.metrics import task_of
from m2h_mm.registry import MODELS
from m2h_mm.system.spelling import did_you_mean
from m2h_mm.tasks import Task, build_tasks

from .config_places import class_arguments
from .shared_tasks import DATALOADERS, EVALUATORS, share_tasks

# Entries of the model that have one value per task.
BY_TASK = ('heads', 'losses', 'aux_weight')


def restrict_tasks(cfg: Config, tasks: Sequence[str]) -> Config:
    """The same config with some of its tasks only.

    Changed are the declared ``tasks`` and the places that refer to them:

    - ``model.heads``, ``model.decoder.heads``, ``model.losses``, and in ``model.weighting`` every
      argument that is a dict by task, such as ``base_weights``;
    - in any part of the model the arguments ``tasks`` and ``*_tasks`` (``main_tasks``), by which a
      part says which tasks it serves. A part whose ``tasks`` are all gone is left out
      (``merger=None``); another argument that would be empty is left to its default;
    - losses between tasks: one that needs a task that is gone is left out;
    - data sets: one that is left without a task is left out of the data set that joins it;
    - metrics of a task that is gone;
    - ``default_hooks.checkpoint.save_best``: the metric of a task that is gone gives way to the
      headline metric of the first remaining task.

    One task alone has nobody to exchange with: a decoder's ``interaction`` becomes
    ``NoInteraction``.

    Args:
        cfg: config of a ``MultiTaskModel`` with its data and evaluators. Not changed.
        tasks: names, at least one; the order stays that of the declaration.

    Raises:
        ValueError: a name that is not declared, none at all, or a data set that has none of them.
    """
    cfg = share_tasks(copy.deepcopy(cfg))
    names = list(cfg.get('tasks') or ())
    unknown = [name for name in tasks if name not in names]
    if unknown or not tasks:
        hint = did_you_mean(unknown[0], names) if unknown else ''
        raise ValueError(
            f'tasks: expected some of those of the config, {names}, got {list(tasks)}.{hint}'
        )
    gone = {name for name in names if name not in tasks}
    cfg.tasks = _without(cfg.tasks, gone)
    _restrict_model(cfg, gone)
    for key in DATALOADERS:
        if cfg.get(key):
            dataset = _restrict_dataset(cfg[key]['dataset'], gone)
            if dataset is None:
                raise ValueError(f'{key}.dataset: it has labels of none of {list(tasks)}.')
            cfg[key]['dataset'] = dataset
    for key in EVALUATORS:
        if cfg.get(key):
            cfg[key] = _restrict_evaluator(cfg[key], gone)
    _choose_best(cfg, build_tasks(cfg.tasks), gone)
    return cfg


def _without(value: Any, gone: set[str]) -> Any:
    """A dict by task, or a list of tasks, without those that are gone."""
    if isinstance(value, Mapping):
        return {name: item for name, item in value.items() if name not in gone}
    return type(value)(name for name in value if name not in gone)


# ---- the model
def _restrict_model(cfg: Config, gone: set[str]) -> None:
    model = dict(cfg.model)
    for key in BY_TASK:
        if isinstance(model.get(key), Mapping):
            model[key] = _without(model[key], gone)
    if 'heads' in (model.get('decoder') or {}):
        model['decoder'] = {**model['decoder'], 'heads': _without(model['decoder']['heads'], gone)}
    weighting = model.get('weighting') or {}
    for key, value in weighting.items():
        if isinstance(value, Mapping):
            weighting[key] = _without(value, gone)
    model['consistency'] = _without_losses(model.get('consistency') or (), gone)
    for name, losses in (model.get('losses') or {}).items():
        if not isinstance(losses, Mapping):
            model['losses'][name] = _without_losses(losses, gone)
    cfg.model = _restrict_part(model, gone)
    decoder = cfg.model.get('decoder')
    if not decoder or len(cfg.tasks) > 1:
        return
    if 'interaction' in class_arguments(MODELS.get(decoder['type']))[0]:
        decoder.interaction = dict(type='NoInteraction')


def _without_losses(losses: Sequence[Mapping], gone: set[str]) -> list[Mapping]:
    """Those that need no task that is gone."""
    return [
        loss for loss in losses if gone.isdisjoint(getattr(MODELS.get(loss['type']), 'tasks', ()))
    ]


def _restrict_part(part: Any, gone: set[str]) -> Any:
    """A part of the model, and the parts in it; None if it serves none of the remaining tasks."""
    if isinstance(part, (list, tuple)):
        parts = [(item, _restrict_part(item, gone)) for item in part]
        return type(part)(after for before, after in parts if after is not None or before is None)
    if not isinstance(part, Mapping):
        return part
    restricted = {}
    for key, value in part.items():
        if value and (key == 'tasks' or key.endswith('_tasks')):
            value = _without(value, gone)
            if not value and key == 'tasks':
                return None
            if not value:
                continue
        else:
            value = _restrict_part(value, gone)
        restricted[key] = value
    return restricted


# ---- data and metrics
def _restrict_dataset(dataset: Mapping, gone: set[str]) -> Mapping | None:
    """A data set, and those that it joins or repeats; None if it has no remaining task."""
    dataset = dict(dataset)
    if 'dataset' in dataset:
        dataset['dataset'] = _restrict_dataset(dataset['dataset'], gone)
        return dataset if dataset['dataset'] else None
    if 'datasets' in dataset:
        members = dataset['datasets']
        if isinstance(members, Mapping):
            found = {name: _restrict_dataset(part, gone) for name, part in members.items()}
            dataset['datasets'] = {name: part for name, part in found.items() if part}
        else:
            found = [_restrict_dataset(part, gone) for part in members]
            dataset['datasets'] = [part for part in found if part]
        return dataset if dataset['datasets'] else None
    if dataset.get('label_formats'):
        dataset['label_formats'] = _without(dataset['label_formats'], gone)
    if 'tasks' in dataset:
        dataset['tasks'] = _without(dataset['tasks'], gone)
        return dataset if dataset['tasks'] else None
    return dataset


def _restrict_evaluator(evaluator: Mapping, gone: set[str]) -> dict:
    """An evaluator, or a member's part of a ``MixedEvaluator``, without the tasks that are gone."""
    evaluator = dict(evaluator or {})
    if 'tasks' in evaluator:
        evaluator['tasks'] = _without(evaluator['tasks'], gone)
    if evaluator.get('metrics'):
        evaluator['metrics'] = {
            name: metric
            for name, metric in evaluator['metrics'].items()
            if task_of(name, metric) not in gone
        }
    if 'datasets' in evaluator:
        members = {
            name: _restrict_evaluator(member, gone)
            for name, member in evaluator['datasets'].items()
        }
        evaluator['datasets'] = {
            name: member for name, member in members.items() if member.get('tasks', True)
        }
    return evaluator


def _choose_best(cfg: Config, kept: Mapping[str, Task], gone: set[str]) -> None:
    """Keep the metrics of ``save_best`` whose tasks remain, or take another one."""
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    best = checkpoint.get('save_best')
    best = [best] if isinstance(best, str) else list(best or ())
    # [<data set>/]<task>/<metric>
    remaining = [metric for metric in best if gone.isdisjoint(metric.split('/')[:-1])]
    if remaining and len(remaining) < len(best):
        checkpoint.update(save_best=remaining)
    elif best and not remaining:
        name, task = next(iter(kept.items()))
        dataset = best[0].split('/')[:-2]
        checkpoint.update(
            save_best='/'.join([*dataset, name, task.metric]),
            rule='greater' if task.higher_is_better else 'less',
        )
