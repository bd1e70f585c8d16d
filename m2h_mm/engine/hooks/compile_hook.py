"""Training with the network compiled by torch.compile."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from m2h_mm.engine.checkpoints import unwrap
from m2h_mm.registry import HOOKS


@HOOKS.register_module()
class CompileHook(Hook):
    """Trains with ``torch.compile`` of all that is computed from the images alone: backbone, neck,
    decoder and heads.

    Labels, losses and the optimizer stay as they are. It takes the place of mmengine's
    ``compile=True``, which compiles the whole training step and stops at the metainfo of the
    samples. State dicts keep their keys. Validations during the training are compiled too, once
    more for their mode and image size.

    Args:
        options: as of ``torch.compile``: ``mode='max-autotune'``, ``backend='aot_eager'``, ...

    Raises:
        ValueError: a weighting that looks at the gradients of each task.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        if getattr(model.weighting, 'shared', ()):
            raise ValueError(
                f'CompileHook: model.weighting ({type(model.weighting).__name__}) goes back '
                'through the network several times in a step, which torch.compile does not '
                'allow. Take one of the two out.'
            )
        model.run_network = torch.compile(model.run_network, **self.options)
        runner.logger.info('CompileHook: the first iterations compile the network and are slow.')

    def after_train(self, runner: Runner) -> None:
        del unwrap(runner.model).run_network
