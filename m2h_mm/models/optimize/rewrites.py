"""``optimize``, and the table of all rewrites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Rewrite:
    """One fast form.

    Attributes:
        plain: the class that is replaced.
        fast: a subclass of it that has the same parameters and computes the same values.
        training: whether ``optimize(model, training=True)`` applies it.
        inference: whether ``optimize(model)`` applies it.
    """

    plain: type[nn.Module]
    fast: type[nn.Module]
    training: bool
    inference: bool


REWRITES: dict[type[nn.Module], Rewrite] = {}
"""All rewrites by their plain class, filled by :func:`rewrites`.

========================  ========  =========  ===================================================
plain class               training  inference  its fast form
========================  ========  =========  ===================================================
MLP                       yes       no         computes the GELU again in the backward pass
FeedForward               yes       no         likewise
FusionBlock               yes       yes        projects before the upsampling
TaskLayerNorm             yes       yes        normalises the tokens of all tasks in one call
CrossTaskLayer            yes       yes        without gradients on a CPU: a few windows at a time
WMCA                      yes       yes        keeps windows cut; projects before the upsampling
RoutedConv                no        yes        sums the experts' kernels: one convolution
ReassembleLevel           yes       yes        computes the class token's share once
MultiModalDistillation-   yes       yes        leaves out the targets that are not asked for
Unit
ASPP                      yes       yes        convolves each branch by itself
UpsampleBlock             yes       yes        gate and projections before the upsampling
M2HNormalsHead            yes       yes        last convolution before the last upsampling
M2HEdgeHead               yes       yes        likewise
CrossTaskAttention        yes       yes        InvPT: joins logits before the upsampling
InvPTStage                yes       yes        reduces channels before the upsampling
========================  ========  =========  ===================================================

For inference the whole model is also put into the memory format ``torch.channels_last``; in
training ``model.channels_last`` of the config decides, because some backbones cannot be trained in
it on a CPU.
"""


def rewrites(
    plain: type[nn.Module], training: bool = True, inference: bool = True
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Decorator of a fast form.

    A fast form computes what ``plain`` computes, in another order. Where it reads the weights of a
    child in place of calling it, it first asks :func:`~m2h_mm.models.optimize.checks.is_exactly`,
    and otherwise returns ``super().forward(...)``: the child may have been wrapped since.

    Args:
        plain: the class whose place it takes; its direct base in all but mixins.
        training: whether it is worth having in training.
        inference: and where no gradient is computed.

    Raises:
        TypeError: no subclass of ``plain``, or there is one already.
    """

    def register(fast: type[nn.Module]) -> type[nn.Module]:
        if not issubclass(fast, plain) or plain in REWRITES:
            raise TypeError(
                f'{fast.__name__}: expected a subclass of {plain.__name__}, which has no fast '
                f'form yet; known are those of {[cls.__name__ for cls in REWRITES]}.'
            )
        REWRITES[plain] = Rewrite(plain, fast, training, inference)
        return fast

    return register


def optimize(model: nn.Module, training: bool = False) -> nn.Module:
    """Replace modules of exactly known types by their fast forms, in place.

    A module keeps its identity, its parameters, their names and its hooks: only its class changes.
    Outputs and gradients stay the same up to rounding. Modules of other types are left alone:
    subclasses, wrapped layers, a module whose ``forward`` was replaced. A fast form whose children
    were wrapped, before or later, computes as the plain one.

    Args:
        model: any module; fast forms that it already has are chosen anew.
        training: whether for a training or for inference, see :data:`REWRITES`. Default: False.

    Returns:
        ``model``.
    """
    plain_types = {rewrite.fast: rewrite.plain for rewrite in REWRITES.values()}
    for module in model.modules():
        if type(module) in plain_types:
            module.__class__ = plain_types[type(module)]
        rewrite = REWRITES.get(type(module))
        if rewrite is None or 'forward' in module.__dict__:
            continue
        if rewrite.training if training else rewrite.inference:
            module.__class__ = rewrite.fast
    if not training and hasattr(model, 'channels_last'):
        model.to(memory_format=torch.channels_last)
        model.channels_last = True
    return model
