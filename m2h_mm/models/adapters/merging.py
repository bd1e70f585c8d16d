"""Adapters put into the weights, for a model that is only used."""

from __future__ import annotations

from torch import nn


def merge_adapters(model: nn.Module) -> nn.Module:
    """Put the adapters of a model into the weights of its backbone, in place.

    Outputs stay the same up to rounding, and cost what they cost without adapters. The model has
    none any more, and its ``state_dict()`` is that of a model without. Adapters of several tasks
    are left as they are: one weight cannot be several.

    Args:
        model: any; one without adapters stays as it is.

    Returns:
        ``model``.
    """
    adapters = getattr(model, 'adapters', None)
    if adapters is not None and not adapters.per_task:
        adapters.merge()
        model.adapters = None
    return model
