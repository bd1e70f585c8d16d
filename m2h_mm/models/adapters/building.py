"""The adapters of a model: built, attached to its backbone, and checked against its decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from m2h_mm.models.building import build_part
from m2h_mm.structures import contracts

from .layer_choice import KEY


def build_adapters(
    cfg: Mapping[str, Any] | None, backbone: nn.Module, tasks: Sequence[str], frozen: bool
) -> nn.Module | None:
    """Build what ``model.adapters`` says, and attach it to the backbone.

    Args:
        cfg: of :class:`~m2h_mm.structures.contracts.Adapters`, None for none.
        backbone: of the model.
        tasks: of the model.
        frozen: ``model.freeze_backbone``.

    Raises:
        ValueError: a frozen backbone with adapters; what :func:`build_part` and ``attach`` refuse.
    """
    if cfg is None:
        return None
    if frozen:
        raise ValueError(
            'model.freeze_backbone=True builds no graph in the backbone, so that model.adapters '
            'could not be trained. Set model.freeze_backbone=False: adapters keep the weights of '
            'the backbone as they are.'
        )
    adapters = build_part(KEY, cfg, 'model.tasks', contracts.Adapters, tasks=tuple(tasks))
    adapters.attach(backbone)
    return adapters


def require_source_tasks(adapters: nn.Module | None, decoder: nn.Module) -> None:
    """Refuse adapters of each task before a decoder that would look at the features of none.

    Raises:
        ValueError: there are such.
    """
    if adapters is not None and adapters.per_task and not hasattr(decoder, 'source_tasks'):
        raise ValueError(
            f'{KEY}.per_task=True: model.decoder ({type(decoder).__name__}) starts from features '
            'that all tasks share. Set per_task=False, or take a decoder that has source_tasks(), '
            'such as M2HDecoder or SharedDecoder; see m2h_mm.structures.contracts.'
        )
