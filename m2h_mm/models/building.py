"""Putting a model together: channel counts handed from part to part, and checked."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features

PROBE_SIZE = 224  # a multiple of 14 and of 32


def build_part(key: str, cfg: Mapping[str, Any], source: str, **given: Any) -> nn.Module:
    """Build ``cfg``, filling in those of ``given`` that its class takes and ``cfg`` leaves out.

    Args:
        key: where ``cfg`` stands in the config.
        source: what yields ``given``.
        given: what is known from the parts before: ``in_channels`` and so on.

    Raises:
        ValueError: ``cfg`` states another value than the given one, holds an argument that the
            class does not take, or is not a config with a known ``type``.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ValueError(f"{key}: expected a dict with a 'type', got {cfg!r}.")
    cls = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if cls is None:
        raise ValueError(
            f'{key}.type: {cfg["type"]!r} is not registered. A module of your own is '
            'registered with '
            '@MODELS.register_module() in a file named by custom_imports.'
        )
    # nn.Module's own __init__ claims to take anything.
    parameters = {} if cls.__init__ is nn.Module.__init__ else inspect.signature(cls).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    unknown = [name for name in cfg if name not in parameters and name not in ('type', '_scope_')]
    if unknown and not open_ended:
        raise ValueError(
            f'{key}: {cfg["type"]} has no argument(s) {unknown}; it takes '
            f'{list(parameters)}. If they '
            f'come from the parent config, put _delete_=True into {key} to start '
            'afresh.'
        )
    filled = dict(cfg)
    for name, value in given.items():
        if name in cfg:
            stated = tuple(cfg[name]) if isinstance(cfg[name], (list, tuple)) else cfg[name]
            if stated != value:
                raise ValueError(
                    f'{key}.{name} is {stated}, but {source} yields {value}. Leave '
                    f'{name} out of {key} to '
                    'have it filled in, or change one of the two.'
                )
        elif name in parameters:
            filled[name] = value
    return MODELS.build(filled)


def require_tasks(
    key: str, named: Iterable[str], tasks: tuple[str, ...], complete: bool = False
) -> None:
    """Refuse names that are not among the model's tasks and, if ``complete``, tasks that are not
    named.
    """
    named = list(named)
    unknown = [name for name in named if name not in tasks]
    missing = [name for name in tasks if complete and name not in named]
    if unknown or missing:
        what = f'unknown task(s) {unknown}' if unknown else f'nothing for task(s) {missing}'
        raise ValueError(
            f'{key}: {what}; model.tasks are {list(tasks)}. Add to or remove from '
            f'{key} or model.tasks.'
        )


def require_parts(model: nn.Module, parts: Iterable[str]) -> tuple[str, ...]:
    """How the names of the parameters of those ``parts`` begin that ``model.weighting.shared``
    names.

    A model without a neck is not asked for it.

    Raises:
        ValueError: a part without parameters.
    """
    names = [name for name, _ in model.named_parameters()]
    prefixes = tuple(f'{part}.' for part in parts if part != 'neck' or model.neck is not None)
    missing = [
        prefix[:-1] for prefix in prefixes if not any(name.startswith(prefix) for name in names)
    ]
    if missing:
        raise ValueError(
            f'model.weighting.shared: the model has no parameters in {missing}. Name '
            'parts such as '
            "'neck', 'decoder' or 'decoder.interaction'."
        )
    return prefixes


def describe_backbone(backbone: nn.Module) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Channels and strides of the maps that a backbone yields.

    Ours state them; any other is run once on a blank image.
    """
    if hasattr(backbone, 'out_channels') and hasattr(backbone, 'strides'):
        return tuple(backbone.out_channels), tuple(backbone.strides)
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE))
    backbone.train(training)
    maps = (
        maps.maps if isinstance(maps, Features) else (maps,) if isinstance(maps, Tensor) else maps
    )
    return tuple(m.shape[1] for m in maps), tuple(PROBE_SIZE / m.shape[-1] for m in maps)
