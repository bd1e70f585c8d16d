"""Building the metrics of an evaluator: those of its tasks, and further ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.evaluator import BaseMetric

from m2h_mm.registry import METRICS
from m2h_mm.system.spelling import did_you_mean
from m2h_mm.tasks import Task
from m2h_mm.tasks.error_metric import ErrorMetric


def build_metrics(
    tasks: Mapping[str, Task],
    settings: Mapping[str, Mapping | BaseMetric | None] | None = None,
    key: str = 'evaluator.metrics',
) -> list[BaseMetric]:
    """The metric of every task, in the order of the tasks, then further ones.

    Args:
        tasks: name to task.
        settings: under the name of a task the arguments of its metric, a built metric in its place,
            or None to leave it out. Under any other name the config of a further metric: ``type``,
            and ``task``, the name of the task that it is given. Its keys begin with its own name.
        key: of ``settings`` in the config, for messages.

    Raises:
        ValueError: a name that is no task's and has no ``type``, or a ``task`` that there is not.
    """
    settings = dict(settings or {})
    metrics = {name: _build(task, settings.pop(name, {})) for name, task in tasks.items()}
    for name, config in settings.items():
        metrics[name] = _build_further(f'{key}.{name}', name, config, tasks)
    return [metric for metric in metrics.values() if metric is not None]


def task_of(key: str, config: Mapping | BaseMetric | None) -> str:
    """Name of the task that the metric under ``key`` of the settings belongs to."""
    return config.get('task', key) if isinstance(config, Mapping) else key


def _build(task: Task, config: Mapping | BaseMetric | None) -> BaseMetric | None:
    """The task's own metric, or that of the config's ``type``."""
    if not isinstance(config, Mapping):
        return config
    if 'type' in config:
        return METRICS.build(dict(config, task=task))
    return task.find_in(METRICS, ErrorMetric)(task, **config)


def _build_further(
    key: str, name: str, config: Any, tasks: Mapping[str, Task]
) -> BaseMetric | None:
    if not isinstance(config, Mapping):
        return config
    if 'type' not in config:
        raise ValueError(
            f'{key}: there is no such task; expected one of {list(tasks)}, or the type and the '
            f'task of a further metric.{did_you_mean(name, tasks)}'
        )
    config = dict(config)
    if 'task' not in config:
        return METRICS.build(config)
    if config['task'] not in tasks:
        raise ValueError(f'{key}.task: expected one of {list(tasks)}, got {config["task"]!r}.')
    config['task'] = tasks[config['task']]
    return METRICS.build(dict(prefix=name) | config)
