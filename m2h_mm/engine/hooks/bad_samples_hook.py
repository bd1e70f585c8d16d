"""A log of the samples that data sets skipped because they could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner

from m2h_mm.registry import HOOKS


@HOOKS.register_module()
class BadSamplesHook(Hook):
    """Says what data sets with ``on_bad_sample='skip'`` skip: each file once, with what is wrong
    with it, and totals.

    The samples themselves tell it, in their metainfo ``skipped``: the processes that load them have
    no log. Samples of all processes of a distributed training are counted, from the start of this
    run, not of the one it resumes. Part of ``default_hooks`` as ``bad_samples``; silent where
    nothing is skipped.

    Args:
        interval (int): iterations between two looks at what was skipped, default 50; it is also
            told at the end.
    """

    def __init__(self, interval: int = 50) -> None:
        if interval < 1:
            raise ValueError(
                'default_hooks.bad_samples.interval: expected at least 1 iteration, got '
                f'{interval}.'
            )
        self.interval = interval
        self._new: Counter[str] = Counter()
        self._told: Counter[str] = Counter()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Mapping | None = None,
        outputs: dict | None = None,
    ) -> None:
        for sample in data_batch['data_samples']:
            self._new.update(sample.get('skipped', ()))
        if self.every_n_train_iters(runner, self.interval):
            self._tell(runner)

    def after_train(self, runner: Runner) -> None:
        self._tell(runner)

    def _tell(self, runner: Runner) -> None:
        new = sum(all_gather_object(self._new), Counter())
        self._new = Counter()
        for message in sorted(new.keys() - self._told.keys()):
            runner.logger.warning(f'Bad sample, skipped: {message}')
        self._told += new
        if new:
            runner.logger.warning(
                f'{self._told.total()} bad samples were skipped since this start, of '
                f'{len(self._told)} frames.'
            )
