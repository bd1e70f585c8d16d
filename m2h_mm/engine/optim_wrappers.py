"""Mixed precision on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from m2h_mm.registry import OPTIM_WRAPPERS


class BFloat16OptimWrapper(OptimWrapper):
    """Autocasts the forward pass to bfloat16; its exponent is float32's, so that no loss scaling is needed."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


@OPTIM_WRAPPERS.register_module()
def AutocastOptimWrapper(**kwargs) -> OptimWrapper:  # noqa: N802 - stands in a config's ``type``
    """What ``--amp`` chooses: on a GPU mmengine's ``AmpOptimWrapper`` with dynamic loss scaling (float16, the precision
    every GPU has), elsewhere :class:`BFloat16OptimWrapper`, because float16 is not trainable on a CPU.

    Args:
        kwargs: as of mmengine's ``OptimWrapper``.
    """
    if get_device() == 'cuda':
        return AmpOptimWrapper(loss_scale='dynamic', **kwargs)
    return BFloat16OptimWrapper(**kwargs)
