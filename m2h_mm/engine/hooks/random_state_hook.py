"""The state of the random number generators, kept in checkpoints."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from m2h_mm.engine.snapshot import random_state, restore_random_state
from m2h_mm.engine.training_state import RANDOM_STATE
from m2h_mm.registry import HOOKS


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Keeps the state of torch's random numbers (dropout, stochastic depth) with every checkpoint.

    A resumed training goes on with the numbers that the uninterrupted one would have drawn, and a
    validation takes none from it. What is random about the samples is the sampler's business. Rank
    0 writes for all; with ``randomness=dict(diff_rank_seed=True)``, where the ranks differ, nothing
    is restored.
    """

    def __init__(self) -> None:
        self._resumed: dict[str, Tensor] | None = None
        self._before_validation: dict[str, Tensor] = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint[RANDOM_STATE] = random_state() if self._resumed is None else self._resumed

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume and not runner._randomness_cfg.get('diff_rank_seed'):
            self._resumed = checkpoint.get(RANDOM_STATE)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        # Not earlier: the loader, which has just been started, takes a number too.
        if self._resumed is not None:
            restore_random_state(self._resumed)
            self._resumed = None

    def before_val_epoch(self, runner: Runner) -> None:
        self._before_validation = random_state()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        restore_random_state(self._before_validation)
