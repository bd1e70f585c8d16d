"""The network in its fast form."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from m2h_mm.engine.checkpoints import unwrap
from m2h_mm.models.optimize import optimize
from m2h_mm.registry import HOOKS


@HOOKS.register_module()
class OptimizeHook(Hook):
    """Puts the fast forms of the model's modules in their place: those for training before a
    training, those for inference before a test; see :func:`m2h_mm.models.optimize.optimize`.

    Losses and gradients change by rounding only, checkpoints keep their keys. Layers that are
    wrapped (adapters), subclassed or hooked compute as they are.

    Args:
        enabled (bool): False leaves the model as it is, to train or test the plain network. Default
            True.
    """

    # Before hooks that replace a module's ``forward`` by a function of it.
    priority = 'VERY_HIGH'

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_train(self, runner: Runner) -> None:
        if self.enabled:
            optimize(unwrap(runner.model), training=True)

    def before_test(self, runner: Runner) -> None:
        if self.enabled:
            optimize(unwrap(runner.model))
