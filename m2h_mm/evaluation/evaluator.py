"""All metrics of an evaluation as one table, and the multi-task gain."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path

from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log

from m2h_mm.evaluation.gain import task_gains
from m2h_mm.evaluation.metrics import build_metrics
from m2h_mm.registry import EVALUATOR
from m2h_mm.tasks import Task, build_tasks
from m2h_mm.tasks.pooled_metric import PooledMetric

PERCENT = 100


@EVALUATOR.register_module()
class MultiTaskEvaluator(Evaluator):
    """The metric of every task, each named ``task/measure``, and the multi-task gain over
    single-task models.

    The metric of a task is the one registered under its kind, or
    :class:`~m2h_mm.tasks.error_metric.ErrorMetric` where there is none.

    With a ``reference`` there are further keys, in percent, positive if better than the reference:
    ``gain/<task>``, of the task's headline metric, and ``delta_m``, the mean over the tasks:
    Maninis et al., CVPR 2019, eq. 1. They are NaN where a headline metric is, as for a task that no
    frame has a label of. A task counts once: of several metrics for its labels, the first that
    yields the headline measure.

    Args:
        tasks: name to arguments of each task, see :func:`m2h_mm.tasks.build_tasks`; a config's
            top-level ``tasks`` are filled in.
        metrics: by task, the arguments of its metric (``edge=dict(preset='mtl')``), or None to
            leave it out. A further key with ``type`` and ``task`` adds a metric:
            ``depth_near=dict(type='depth', task='depth', max_depth=3.0)``. Default: every task's
            own, with its defaults.
        reference: what single-task models reach: a dict of ``'task/measure'`` to value; or a JSON
            file, or several, one per single-task model for instance. A file holds such a dict, or
            is what ``m2h-mm test --out`` writes. It must name the headline metric of every
            evaluated task (``semseg/mIoU``, ``depth/rmse``, ``normals/mean``, ``edge/odsF``, ...),
            measured by the same protocol; what else it holds is ignored. Default: none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a metric of an unknown task; a file that is not of this form, a headline metric
            that is missing, not above 0, beyond what it can be or not a number, two files that
            disagree on one, or two metrics that yield the same key.
    """

    def __init__(
        self,
        tasks: Mapping[str, dict | None] | Sequence[str] | Mapping[str, Task],
        metrics: Mapping[str, Mapping | BaseMetric | None] | None = None,
        reference: Mapping[str, float] | str | Sequence[str] | None = None,
    ) -> None:
        self.tasks = build_tasks(tasks)
        super().__init__(build_metrics(self.tasks, metrics))
        self._require_distinct_keys()
        self.reference = None if reference is None else self._read_reference(reference)

    @cached_property
    def headlines(self) -> dict[str, tuple[str, bool]]:
        """By the key of the headline metric: the name of its task, and whether higher is better."""
        headlines, counted = {}, set()
        for metric in self._pooled():
            task = metric.task
            if task.gt_field not in counted and task.metric in _measures(metric):
                counted.add(task.gt_field)
                headlines[f'{metric.prefix}/{task.metric}'] = metric.prefix, task.higher_is_better
        return headlines

    @cached_property
    def _largest(self) -> dict[str, float]:
        """By the key of a measure of a task's kind: the largest value that it can have."""
        return {
            f'{metric.prefix}/{metric.task.metric}': metric.task.largest_metric
            for metric in self._pooled()
        }

    def evaluate(self, size: int) -> dict[str, float]:
        """All metrics over a data set of ``size`` frames; then start afresh."""
        metrics = super().evaluate(size)
        if self.reference is not None:
            metrics.update(self._gains(metrics))
        return metrics

    def protocol(self) -> dict[str, str]:
        """By task, the protocol of the metrics that have more than one."""
        return {
            metric.prefix: metric.protocol for metric in self.metrics if hasattr(metric, 'protocol')
        }

    def _pooled(self) -> list[PooledMetric]:
        return [metric for metric in self.metrics if isinstance(metric, PooledMetric)]

    def _require_distinct_keys(self) -> None:
        """mmengine would find out only after a whole evaluation."""
        for one, other in combinations(self._pooled(), 2):
            same = sorted(_measures(one) & _measures(other)) if one.prefix == other.prefix else []
            if same:
                raise ValueError(
                    f'evaluator.metrics: {type(one).__name__} and {type(other).__name__} would '
                    f'both yield {[f"{one.prefix}/{name}" for name in same]}. Give one of them '
                    f"another prefix, such as prefix='{one.prefix}_2', or leave it out."
                )

    def _gains(self, metrics: Mapping[str, float]) -> dict[str, float]:
        gains = task_gains(
            {name: metrics[key] for key, (name, _) in self.headlines.items()},
            {name: self.reference[key] for key, (name, _) in self.headlines.items()},
            dict(self.headlines.values()),
        )
        undefined = [name for name, gain in gains.items() if math.isnan(gain)]
        if undefined:
            print_log(
                f'{type(self).__name__}: no gain for {undefined}, whose metric is NaN; so is '
                'delta_m.',
                'current',
                logging.WARNING,
            )
        return {
            **{f'gain/{name}': gain for name, gain in gains.items()},
            'delta_m': sum(gains.values()) / len(gains),
        }

    def _read_reference(
        self, reference: Mapping[str, float] | str | Sequence[str]
    ) -> dict[str, float]:
        if isinstance(reference, Mapping):
            values, sources = dict(reference), 'evaluator.reference'
        else:
            paths = [reference] if isinstance(reference, (str, Path)) else list(reference)
            values, sources = (
                _merge(paths, self.headlines),
                ', '.join(map(str, paths)) or 'evaluator.reference',
            )
        for key in self.headlines:
            value = values.get(key)
            largest = self._largest[key]
            if type(value) not in (int, float) or not 0 < value <= largest or math.isinf(value):
                limit = '' if math.isinf(largest) else f' to {largest:g}'
                raise ValueError(
                    f'{sources}: expected a number above 0{limit} for {key!r}, the headline metric '
                    f'of an evaluated task, got {value!r}; there are {sorted(values)}. Add the '
                    'single-task value, or leave the metric out.'
                )
            if largest == PERCENT and value < 1:
                print_log(
                    f'{sources}: {key!r} is {value:g}, and it is in percent: is {100 * value:g} '
                    'meant?',
                    'current',
                    logging.WARNING,
                )
        if not self.headlines:
            raise ValueError(
                f'evaluator.reference: no metric in {[type(m).__name__ for m in self.metrics]} '
                "yields a task's headline measure, so that there is no gain. Remove the "
                'reference.'
            )
        return {key: float(values[key]) for key in self.headlines}


def _measures(metric: PooledMetric) -> set[str]:
    """What the metric yields, found out on an image of one pixel that does not count."""
    return set(metric.summarise(metric.statistics_of_nothing()))


def _merge(paths: Sequence[str | Path], headlines: Mapping[str, object]) -> dict[str, float]:
    values, origin = {}, {}
    for path in paths:
        for key, value in _read(Path(path)).items():
            if key in headlines and key in values and values[key] != value:
                raise ValueError(
                    f'evaluator.reference: {origin[key]} says {key} is {values[key]}, {path} '
                    f'says {value}. Keep one of the two.'
                )
            values[key], origin[key] = value, path
    return values


def _read(path: Path) -> dict[str, float]:
    if not path.is_file():
        raise FileNotFoundError(
            f'evaluator.reference: there is no file {path.absolute()}. m2h-mm test --out writes '
            'one for each single-task model.'
        )
    try:
        content = json.loads(path.read_text())
        content = content.get('metrics', content)
        return dict(content.items())
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f'evaluator.reference: {path} is not of the form {{"semseg/mIoU": 43.2, ...}}, nor a '
            f'file of m2h-mm test --out ({error}).'
        ) from error
