"""Metrics of several data sets, each on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.structures import BaseDataElement

from m2h_mm.registry import EVALUATOR
from m2h_mm.tasks import Task, build_tasks
from m2h_mm.tasks.pooled_metric import PooledMetric, is_repeated

from .evaluator import MultiTaskEvaluator
from .metrics import task_of


@EVALUATOR.register_module()
class MixedEvaluator(Evaluator):
    """A :class:`MultiTaskEvaluator` for each member of a :class:`MixedDataset`.

    Keys are prefixed by the member's name: ``nyud/depth/rmse``, ``rooms/depth/rmse``,
    ``rooms/delta_m``, ...; any of them may be ``save_best``.

    Args:
        tasks: name to arguments of each task, see :func:`m2h_mm.tasks.build_tasks`; a config's
            top-level ``tasks`` are filled in.
        datasets: member's name to what is its own, all of it optional: ``tasks`` (names, of those
            above that are evaluated on this member, or own ones with arguments), ``metrics`` (those
            that differ from the ones below), ``reference``. All members that are evaluated must be
            there.
        metrics: of every member, as of :class:`MultiTaskEvaluator`. Default: every task's own, with
            its defaults.

    Raises:
        ValueError: no member; a task that there is not; what :class:`MultiTaskEvaluator` raises; in
            distributed evaluation, a metric that is no :class:`PooledMetric`, whose results
            mmengine would put in order by their position in one data set.
    """

    def __init__(
        self,
        tasks: Mapping[str, dict | None] | Sequence[str] | Mapping[str, Task],
        datasets: Mapping[str, Mapping | None],
        metrics: Mapping[str, Mapping | BaseMetric | None] | None = None,
    ) -> None:
        if not datasets:
            raise ValueError(
                'evaluator.datasets: expected the names of the data sets to be evaluated, such '
                "as dict(nyud=dict(), rooms=dict(tasks=['depth'])), got none."
            )
        shared = build_tasks(tasks)
        self.evaluators = {
            name: MultiTaskEvaluator(**_member(name, dict(arguments or {}), shared, metrics or {}))
            for name, arguments in datasets.items()
        }
        super().__init__(
            [metric for evaluator in self.evaluators.values() for metric in evaluator.metrics]
        )
        others = [
            type(metric).__name__ for metric in self.metrics if not isinstance(metric, PooledMetric)
        ]
        if others and get_world_size() > 1:
            raise ValueError(
                f'evaluator.datasets: {others} cannot be pooled over processes data set by data '
                'set. Evaluate in one process, or derive them from PooledMetric.'
            )
        self._reset()

    @cached_property
    def headlines(self) -> dict[str, tuple[str, bool]]:
        """As of :class:`MultiTaskEvaluator`, keys and tasks prefixed by the data set's name."""
        return {
            f'{name}/{key}': (f'{name}/{task}', higher)
            for name, evaluator in self.evaluators.items()
            for key, (task, higher) in evaluator.headlines.items()
        }

    def protocol(self) -> dict[str, str]:
        """By data set and task, the protocol of the metrics that have more than one."""
        return {
            f'{name}/{task}': protocol
            for name, evaluator in self.evaluators.items()
            for task, protocol in evaluator.protocol().items()
        }

    def process(
        self, data_samples: Sequence[BaseDataElement | Mapping], data_batch: Any = None
    ) -> None:
        """Hand each sample to the evaluator of its data set; ``data_batch`` is not used."""
        for sample in data_samples:
            self._hand_on()
            self._last = sample
            self._seen += 1

    def evaluate(self, size: int) -> dict[str, float]:
        """The metrics of all data sets, of ``size`` frames together; then start afresh."""
        # Whether the last frame is one that the sampler repeats follows from its position among all
        # frames, which the metrics of one data set do not know. They are given fewer than ``size``
        # and so take no other one for repeated.
        if not is_repeated(self._seen, size):
            self._hand_on()
        self._reset()
        return {
            f'{name}/{key}': value
            for name, evaluator in self.evaluators.items()
            for key, value in evaluator.evaluate(size).items()
        }

    def _hand_on(self) -> None:
        if self._last is None:
            return
        name = self._last.get('dataset')
        if name not in self.evaluators:
            raise ValueError(
                f'evaluator.datasets: there are metrics for {list(self.evaluators)}, and a frame '
                f'of {name!r} (None: not of a MixedDataset). Add it, or remove it from the '
                'dataloader.'
            )
        self.evaluators[name].process([self._last])

    def _reset(self) -> None:
        self._last: BaseDataElement | Mapping | None = None
        self._seen = 0


def _member(
    name: str, own: dict[str, Any], shared: Mapping[str, Task], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a member's evaluator: its own, completed by what is common to all."""
    tasks = own.get('tasks', shared)
    if not isinstance(tasks, Mapping):
        unknown = [task for task in tasks if task not in shared]
        if unknown:
            raise ValueError(
                f'evaluator.datasets.{name}.tasks: expected some of {list(shared)}, got {unknown}.'
            )
        tasks = {task: shared[task] for task in tasks}
    of_tasks = {key: config for key, config in metrics.items() if task_of(key, config) in tasks}
    return dict(own, tasks=tasks, metrics={**of_tasks, **(own.get('metrics') or {})})
