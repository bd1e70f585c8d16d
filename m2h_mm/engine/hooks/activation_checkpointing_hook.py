"""Activation checkpointing: less memory for a second forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from m2h_mm.engine.checkpoints import unwrap
from m2h_mm.registry import HOOKS


@HOOKS.register_module()
class ActivationCheckpointingHook(Hook):
    """Keeps only the inputs of some modules for the backward pass, which computes the rest again.

    Losses, gradients and the running statistics of batch normalisation are those of a training
    without it. It takes the place of mmengine's ``activation_checkpointing=[...]``, which passes no
    gradient through the dicts that travel between our modules and takes no keyword arguments.

    Args:
        modules (str | Sequence[str]): names within the model, such as ``'decoder.interaction'``. Of
            a list or dict of modules (``'decoder.fusion'``, ``'heads'``), each member for itself.

    Raises:
        ValueError: the model has no such module.
    """

    def __init__(self, modules: str | Sequence[str]) -> None:
        self.names = [modules] if isinstance(modules, str) else list(modules)
        self._modules: list[nn.Module] = []

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        known = dict(model.named_modules())
        unknown = [name for name in self.names if name not in known]
        if unknown:
            raise ValueError(
                f'ActivationCheckpointingHook.modules: the model has no {unknown}. Its largest '
                f'parts are {[name for name in known if name and name.count(".") < 2]}.'
            )
        self._modules = [module for name in self.names for module in called_modules(known[name])]
        for module in self._modules:
            module.forward = checkpointed(module)

    def after_train(self, runner: Runner) -> None:
        for module in self._modules:
            del module.forward
        self._modules = []


def called_modules(module: nn.Module) -> Iterator[nn.Module]:
    """``module`` itself or, if it is a container that is never called, its members."""
    if type(module).forward is nn.Module.forward:
        for child in module.children():
            yield from called_modules(child)
    else:
        yield module


def checkpointed(module: nn.Module) -> Callable[..., Any]:
    """The module's ``forward``, by which only its arguments are kept for the backward pass."""
    forward, context = module.forward, {}
    if any(isinstance(part, _BatchNorm) for part in module.modules()):
        context = dict(context_fn=lambda: (nullcontext(), StatisticsKept(module)))

    @wraps(forward)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        # A compiled graph counts every batch once by itself, and takes no such context.
        options = {} if torch.compiler.is_compiling() else context
        return checkpoint(forward, *args, use_reentrant=False, **options, **kwargs)

    return wrapped


class StatisticsKept:
    """Within it batch normalisation normalises as it does, and counts nothing: the batch was
    counted in the first pass.

    It may be entered several times, one after the other: a weighting that looks at the gradient of
    each task goes back through a module as often.
    """

    def __init__(self, module: nn.Module) -> None:
        self.norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
        self.states: list[tuple] = []

    def __enter__(self) -> None:
        self.states = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for norm, (momentum, batches) in zip(self.norms, self.states, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
