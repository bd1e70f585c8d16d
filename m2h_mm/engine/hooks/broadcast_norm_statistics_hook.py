"""The first process's statistics of batch normalisation, given to all before a validation."""

from __future__ import annotations

from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from m2h_mm.registry import HOOKS


@HOOKS.register_module()
class BroadcastNormStatisticsHook(Hook):
    """Gives every process the first one's statistics of batch normalisation before a validation.

    Each process averages the statistics of its own frames. Checkpoints hold the first one's, and so
    the metrics of a validation in several processes are those of the checkpoint. Added by
    :func:`~m2h_mm.engine.distributed.build_runner`; with synchronised batch normalisation it
    changes nothing.
    """

    # After a hook that exchanges the weights, such as EMAHook.
    priority = 'VERY_LOW'

    def before_val_epoch(self, runner: Runner) -> None:
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                for buffer in module.buffers():
                    broadcast(buffer)
