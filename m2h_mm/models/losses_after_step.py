"""A training step behind which its losses are computed again, for weightings that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn


class SteppedModel(BaseModel):
    """mmengine's model, whose ``weighting`` may ask for the losses behind a step."""

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One iteration, see :func:`take_step`."""
        return take_step(super().train_step, self, data, optim_wrapper)


def take_step(
    step: Callable[[Any, OptimWrapper], dict[str, Tensor]],
    model: nn.Module,
    data: Any,
    optim_wrapper: OptimWrapper,
) -> dict[str, Tensor]:
    """Take a training step; where the weighting has ``learn_after_step``, give that the losses of
    the same frames afterwards.

    Of the second forward pass nothing is left but what the weighting learns: it has the random
    numbers of the first, builds no graph, and running statistics of normalisation are put back. It
    is taken behind every step of the optimizer; with accumulated gradients, of the last iteration's
    frames alone.

    Args:
        step: mmengine's ``train_step`` of the model or of its wrapper.
        model: the :class:`~m2h_mm.models.MultiTaskModel` itself.
        data: a batch.
        optim_wrapper: as mmengine gives it.

    Returns:
        What ``step`` does.
    """
    learn = getattr(model.weighting, 'learn_after_step', None)
    if learn is None:
        return step(data, optim_wrapper)
    device = next(model.parameters()).device
    numbers = _random_state(device)
    logged = step(data, optim_wrapper)
    if optim_wrapper.should_update():
        after = _random_state(device)
        _set_random_state(device, numbers)
        with _buffers_kept(model), torch.no_grad(), optim_wrapper.optim_context(model):
            batch = model.data_preprocessor(data, training=True)
            logged_after = model(**batch, mode='loss')
        _set_random_state(device, after)
        learn({task: logged_after[f'raw_{task}'] for task in model.tasks})
    return logged


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    on_gpu = device.type == 'cuda'
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if on_gpu else None


def _set_random_state(device: torch.device, state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """What a forward pass changes beside the weights, running statistics, is as before."""
    buffers = list(model.buffers())
    saved = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, saved, strict=True):
            buffer.copy_(value)
