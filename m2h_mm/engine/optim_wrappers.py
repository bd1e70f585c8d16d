"""Mixed precision on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from m2h_mm.registry import OPTIM_WRAPPERS

DTYPES = ('float16', 'bfloat16')


class BFloat16OptimWrapper(OptimWrapper):
    """Autocasts the forward pass to bfloat16; its exponent is float32's, so that no loss scaling is
    needed.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


@OPTIM_WRAPPERS.register_module()
def AutocastOptimWrapper(dtype: str | None = None, **kwargs) -> OptimWrapper:  # noqa: N802 - stands in a config's ``type``
    """What ``--amp`` chooses: mixed precision by autocast, weights and losses in float32.

    Args:
        dtype: ``'float16'``, mmengine's ``AmpOptimWrapper`` with dynamic loss scaling, on a GPU
            alone; ``'bfloat16'``, :class:`BFloat16OptimWrapper`, on any device. Default: float16 on
            a GPU, as every GPU has it, bfloat16 elsewhere.
        kwargs: as of mmengine's ``OptimWrapper``.

    Raises:
        ValueError: another dtype, or float16 without a GPU.
    """
    on_gpu = get_device() == 'cuda'
    dtype = dtype or ('float16' if on_gpu else 'bfloat16')
    if dtype not in DTYPES:
        raise ValueError(
            f'optim_wrapper.dtype (AutocastOptimWrapper): expected one of {DTYPES} or None, got '
            f'{dtype!r}.'
        )
    if dtype == 'bfloat16':
        return BFloat16OptimWrapper(**kwargs)
    if not on_gpu:
        raise ValueError(
            "optim_wrapper.dtype (AutocastOptimWrapper): 'float16' is trained on a GPU only, and "
            f"there is none (device {get_device()}). Leave dtype out, or set it to 'bfloat16'."
        )
    return AmpOptimWrapper(loss_scale='dynamic', dtype='float16', **kwargs)
