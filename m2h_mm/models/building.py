"""Putting a model together: channels and strides handed from part to part, and checked."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from m2h_mm.registry import MODELS
from m2h_mm.structures import Features
from m2h_mm.system.spelling import did_you_mean

# What PyTorch raises where the value of a tensor without any is asked for.
NOT_ON_META = (NotImplementedError, RuntimeError)
PROBE_SIZE = 224  # a multiple of 14 and of 32
# What a part may state of its input as an attribute; it must then be what it is given.
INPUTS = ('in_channels', 'in_strides')


def build_without_weights(cfg: Mapping[str, Any]) -> nn.Module:
    """Build a model whose weights do not matter; ``init_cfg`` is not read.

    It is built on the meta device, where a model of any size takes no memory and no time, or on the
    CPU with random weights if one of its parts looks at a value while it is built, as Swin does for
    its stochastic depth.

    Args:
        cfg: config of the model.
    """
    try:
        with torch.device('meta'):
            return MODELS.build(cfg)
    except NOT_ON_META:
        return MODELS.build(cfg)


@contextmanager
def limited_parts(most: int) -> Iterator[None]:
    """Within it, no more than so many modules are put into others: numbers of layers that a
    stranger's file states would else be built until the memory is full.

    Raises:
        ValueError: there are more.
    """
    count = 0

    def add(*_: object) -> None:
        nonlocal count
        count += 1
        if count > most:
            raise ValueError(f'the model would have more than {most} parts.')

    handle = register_module_module_registration_hook(add)
    try:
        yield
    finally:
        handle.remove()


def build_part(
    key: str, cfg: Mapping[str, Any], source: str, contract: type | None = None, **given: Any
) -> nn.Module:
    """Build ``cfg``, filling in those of ``given`` that its class takes and ``cfg`` leaves out.

    Args:
        key: where ``cfg`` stands in the config.
        source: what yields ``given``.
        contract: the part's Protocol in :mod:`m2h_mm.structures.contracts`, whose annotated
            attributes it must have. None: nothing is asked for.
        given: what is known from the parts before: ``in_channels`` and so on.

    Raises:
        ValueError: ``cfg`` states another value than the given one, holds an argument that the
            class does not take, leaves one out that nobody gives, or is not a config with a known
            ``type``; the part states an input that it does not get, or breaks its contract.
    """
    if not isinstance(cfg, Mapping) or 'type' not in cfg:
        raise ValueError(f"{key}: expected a dict with a 'type', got {cfg!r}.")
    cls = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
    if not callable(cls):
        raise ValueError(
            f'{key}.type: {cfg["type"]!r} is not registered.'
            f'{did_you_mean(str(cfg["type"]), MODELS.module_dict)} A module of your own is '
            'registered with @MODELS.register_module() in a file named by custom_imports.'
        )
    filled = _fill_in(key, cfg, cls, source, given)
    try:
        module = MODELS.build(filled)
    except ValueError as error:
        if 'model.' in str(error):
            raise
        # A layer does not know where in the config the part stands that it belongs to.
        raise ValueError(f'{key} ({cfg["type"]}): {error}') from error
    for name in INPUTS:
        stated = getattr(module, name, None)
        if name in given and stated is not None and _plain(stated) != _plain(given[name]):
            raise ValueError(
                f'{key} ({type(module).__name__}) is made for {name}={_plain(stated)}, but '
                f'{source} yields {_plain(given[name])}. Change one of the two parts.'
            )
    missing = [name for name in getattr(contract, '__annotations__', ()) if not _has(module, name)]
    if missing:
        raise ValueError(
            f'{key}: {type(module).__name__} has no attribute(s) {missing}, which a '
            f'{contract.__name__} must have once it is built; see {contract.__module__}.'
        )
    return module


def _fill_in(
    key: str, cfg: Mapping[str, Any], cls: Any, source: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """All arguments of a part, see :func:`build_part`."""
    # nn.Module's own __init__ claims to take anything.
    parameters = {} if cls.__init__ is nn.Module.__init__ else inspect.signature(cls).parameters
    kinds = {name: parameter.kind for name, parameter in parameters.items()}
    open_ended = inspect.Parameter.VAR_KEYWORD in kinds.values()
    unknown = [name for name in cfg if name not in parameters and name not in ('type', '_scope_')]
    if unknown and not open_ended:
        raise ValueError(
            f'{key}: {cfg["type"]} has no argument(s) {unknown}; it takes {list(parameters)}.'
            f'{did_you_mean(unknown[0], {*parameters, "type"})} If they come from the parent '
            f'config, put _delete_=True into {key} to start afresh.'
        )
    filled = dict(cfg)
    for name, value in given.items():
        if name in cfg:
            if _plain(cfg[name]) != _plain(value):
                raise ValueError(
                    f'{key}.{name} is {_plain(cfg[name])}, but {source} yields {_plain(value)}. '
                    f'Leave {name} out of {key} to have it filled in, or change one of the two.'
                )
        elif name in parameters:
            filled[name] = value
    missing = [
        name
        for name, parameter in parameters.items()
        if name not in filled
        and parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if missing:
        raise ValueError(
            f'{key}: {cfg["type"]} needs {missing}, which {source} does not give. Set '
            f'{", ".join(f"{key}.{name}" for name in missing)}.'
        )
    return filled


def _plain(value: Any) -> Any:
    """Lists as tuples and configs as dicts, to be compared and printed."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _has(module: nn.Module, name: str) -> bool:
    """Whether a part has an attribute; one that is computed is not computed for it."""
    return hasattr(type(module), name) or hasattr(module, name)


def build_losses(
    key: str, cfgs: dict | Sequence[dict], contract: type | None = None
) -> nn.ModuleList:
    """One loss, or several that are summed."""
    if isinstance(cfgs, Mapping):
        return nn.ModuleList([build_part(key, cfgs, 'the model', contract)])
    return nn.ModuleList(
        build_part(f'{key}[{index}]', cfg, 'the model', contract) for index, cfg in enumerate(cfgs)
    )


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
        hint = did_you_mean(unknown[0], tasks) if unknown else ''
        raise ValueError(
            f'{key}: {what}; model.tasks are {list(tasks)}.{hint} Add to or remove from {key} or '
            'model.tasks.'
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
            f'model.weighting.shared: the model has no parameters in {missing}. Name parts such '
            "as 'neck', 'decoder' or 'decoder.interaction'."
        )
    return prefixes


def warn_of_random_backbone(key: str, backbone: nn.Module) -> None:
    """Say that a backbone that is not trained would stay random.

    Args:
        key: what freezes it.
        backbone: the backbone.
    """
    init_cfg = backbone.init_cfg if isinstance(backbone, BaseModule) else None
    configs = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg or []
    if not any(cfg['type'] == 'Pretrained' for cfg in configs):
        print_log(
            f'{key} without pretrained weights in model.backbone.init_cfg keeps random weights '
            'unless a checkpoint (load_from) brings trained ones.',
            'current',
            logging.WARNING,
        )


def describe_backbone(backbone: nn.Module) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Channels and strides of the maps that a backbone yields.

    Ours state them; any other is run once on a blank image.

    Raises:
        ValueError: it states another number of channels than of strides.
    """
    if hasattr(backbone, 'out_channels') and hasattr(backbone, 'strides'):
        channels, strides = tuple(backbone.out_channels), tuple(backbone.strides)
        if len(channels) != len(strides):
            raise ValueError(
                f'model.backbone ({type(backbone).__name__}) states out_channels={channels} and '
                f'strides={strides}: expected one of each for every map.'
            )
        return channels, strides
    training = backbone.training
    backbone.eval()
    with torch.no_grad():
        maps = Features.of(backbone(torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE))).maps
    backbone.train(training)
    return tuple(m.shape[1] for m in maps), tuple(PROBE_SIZE / m.shape[-1] for m in maps)


def trainable_of(model: nn.Module, parts: tuple[str, ...]) -> list[nn.Parameter]:
    """The trainable parameters of the parts whose names begin so."""
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and name.startswith(parts)
    ]
