"""Metrics of several data sets, each on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from mmengine.dist import get_world_size
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

from m2h_mm.registry import EVALUATOR
from m2h_mm.tasks.pooled_metric import PooledMetric, is_repeated

from .evaluator import MultiTaskEvaluator


@EVALUATOR.register_module()
class MixedEvaluator(Evaluator):
    """A :class:`MultiTaskEvaluator` for each member of a :class:`MixedDataset`.

    Keys are prefixed by the member's name: ``nyud/depth/rmse``, ``rooms/depth/rmse``,
    ``rooms/delta_m``, ...; any of them may be ``save_best``.

    Args:
        metrics: member's name to the ``metrics`` of its :class:`MultiTaskEvaluator`. All members
            that are evaluated must be there.
        references: member's name to the ``reference`` of its :class:`MultiTaskEvaluator`. Default:
            none.

    Raises:
        ValueError: no member; a reference or a frame of another data set; what
            :class:`MultiTaskEvaluator` raises; in distributed evaluation, a metric that is no
            :class:`PooledMetric`, whose results mmengine would put in order by their position in
            one data set.
    """

    def __init__(
        self,
        metrics: Mapping[str, Mapping | Sequence],
        references: Mapping[str, Mapping[str, float] | str | Sequence[str]] | None = None,
    ) -> None:
        references = dict(references or {})
        if not metrics or not set(references) <= set(metrics):
            raise ValueError(
                'evaluator: expected metrics of at least one data set, and references '
                'for none but those; '
                f'got metrics for {list(metrics)}, references for {list(references)}.'
            )
        self.evaluators = {
            name: MultiTaskEvaluator(configs, references.get(name))
            for name, configs in metrics.items()
        }
        super().__init__(
            [metric for evaluator in self.evaluators.values() for metric in evaluator.metrics]
        )
        others = [
            type(metric).__name__ for metric in self.metrics if not isinstance(metric, PooledMetric)
        ]
        if others and get_world_size() > 1:
            raise ValueError(
                f'evaluator.metrics: {others} cannot be pooled over processes data '
                'set by data set. '
                'Evaluate in one process, or derive them from PooledMetric.'
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
                f'evaluator.metrics: there are metrics for {list(self.evaluators)}, '
                'and a frame of '
                f'{name!r} (None: not of a MixedDataset). Add it, or remove it from '
                'the dataloader.'
            )
        self.evaluators[name].process([self._last])

    def _reset(self) -> None:
        self._last: BaseDataElement | Mapping | None = None
        self._seen = 0
