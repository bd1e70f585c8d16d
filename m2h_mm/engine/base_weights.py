"""Checkpoints without the weights of the backbone that a training leaves as they are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

BASE_KEY = 'm2h_mm_base'
"""Under this key of a checkpoint's ``meta`` stands what :func:`describe_base` returns."""
PREFIX = 'backbone.'
# How far norm and sum of a weight may be off, which one processor resamples otherwise than another.
TOLERANCE = 1e-4
_WRAPPER = '_fsdp_wrapped_module.'


def describe_base(model: nn.Module, source: str | None) -> dict[str, Any]:
    """What a checkpoint says of the weights that it leaves out: those of the backbone that are
    frozen, parameters and the statistics of norms.

    Args:
        model: of the training.
        source: where they came from: ``init_cfg.checkpoint`` of the backbone, or a file.

    Returns:
        ``source``; ``weights``, name to the number of values, their norm and their sum.

    Raises:
        ValueError: they came from nowhere: no file could be read without them.
    """
    weights = {f'{PREFIX}{name}': _numbers(value) for name, value in _frozen(model.backbone)}
    if weights and not source:
        raise ValueError(
            'default_hooks.checkpoint.trained_only=True: the frozen weights of model.backbone are '
            'random, and a checkpoint without them could not be used. Name their file in '
            'model.backbone.init_cfg, or set trained_only=False.'
        )
    return dict(source=source, weights=weights)


def left_out(content: Any) -> dict[str, list[float]]:
    """The weights that a checkpoint leaves out, see :func:`describe_base`; of a file that says
    something else there, none.
    """
    meta = content.get('meta') if isinstance(content, Mapping) else None
    base = meta.get(BASE_KEY) if isinstance(meta, Mapping) else None
    weights = base.get('weights') if isinstance(base, Mapping) else None
    return {
        name: list(numbers)
        for name, numbers in (weights if isinstance(weights, Mapping) else {}).items()
        if isinstance(name, str) and name.startswith(PREFIX) and _are_numbers(numbers)
    }


def source_of(content: Any) -> str | None:
    """Where the weights came from that a checkpoint leaves out, as text for people."""
    source = content['meta'][BASE_KEY].get('source') if left_out(content) else None
    return source if isinstance(source, str) else None


def named_source(content: Any) -> dict[str, str] | None:
    """The ``init_cfg`` for weights that have a name, such as ``'official'``: a path or an address
    in a file may be anybody's.
    """
    source = source_of(content)
    if source is None or not re.fullmatch(r'[A-Za-z]\w*', source):
        return None
    return dict(type='Pretrained', checkpoint=source)


def without_base(state: dict[str, Tensor], base: Mapping[str, Any]) -> None:
    """Take from the weights of a checkpoint those that it leaves out, in place; also from those of
    a moving average.
    """
    for name in base:
        state.pop(name, None)
        state.pop(f'module.{name}', None)


def restore_base(model: nn.Module, content: Any, path: str | Path) -> None:
    """See to it that a model has the weights that a checkpoint leaves out; if not, they are read as
    ``init_cfg`` of its backbone says.

    Args:
        model: without wrappers.
        content: of the checkpoint.
        path: of it, for messages.

    Raises:
        ValueError: they cannot be had, or are others than those that the checkpoint was trained on.
    """
    base = left_out(content)
    if not base:
        return
    found, reason = _different(model, base), ''
    if found and getattr(model.backbone, 'init_cfg', None):
        try:
            model.backbone.init_weights()
        except (OSError, ValueError) as error:
            reason = f' {error}'
        found = _different(model, base)
    if found:
        raise ValueError(
            f'{path} holds what was trained alone, without {len(base)} weights of the backbone, '
            f'which came from {source_of(content)}. The model has others: {len(found)} differ, '
            f'such as {found[0]}. Name the file that they came from in '
            'model.backbone.init_cfg.checkpoint of the config (--config, such as the one in the '
            'work dir), or in options of M2HInferencer.'
            f'{reason}'
        )


def fill_base(model: nn.Module, content: dict[str, Any], path: str | Path) -> None:
    """:func:`restore_base`, and the weights put into ``content``, so that it is whole.

    Raises:
        ValueError: see :func:`restore_base`.
    """
    base = left_out(content)
    restore_base(model, content, path)
    for name, value in _all(model.backbone):
        if f'{PREFIX}{name}' in base:
            content['state_dict'][f'{PREFIX}{name}'] = value.detach()


def _different(model: nn.Module, base: Mapping[str, list[float]]) -> list[str]:
    own = {f'{PREFIX}{name}': value for name, value in _all(model.backbone)}
    return [name for name in base if name not in own or not _alike(own[name], base[name])]


def _alike(value: Tensor, numbers: list[float]) -> bool:
    count, norm, total = _numbers(value)
    # By Cauchy-Schwarz, a sum is as near as the values are.
    near = math.isclose(norm, numbers[1], rel_tol=TOLERANCE, abs_tol=1e-9)
    apart = abs(total - numbers[2])
    return count == numbers[0] and near and apart <= TOLERANCE * norm * math.sqrt(count) + 1e-9


def _numbers(value: Tensor) -> list[float]:
    flat = value.detach().double().flatten()
    return [float(value.numel()), float(flat.norm()), float(flat.sum())]


def _are_numbers(numbers: Any) -> bool:
    return (
        isinstance(numbers, (list, tuple))
        and len(numbers) == 3
        and all(isinstance(each, (int, float)) and math.isfinite(each) for each in numbers)
    )


def _all(backbone: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What stands in the backbone's ``state_dict()`` and is kept whole by every process."""
    for name, parameter in backbone.named_parameters():
        yield name.replace(_WRAPPER, ''), parameter
    for name, buffer in backbone.named_buffers():
        owner, _, last = name.rpartition('.')
        if last not in backbone.get_submodule(owner)._non_persistent_buffers_set:
            yield name.replace(_WRAPPER, ''), buffer


def _frozen(backbone: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Those that a training leaves as they are; the backbone is in the mode of a training."""
    for name, value in _all(backbone):
        if isinstance(value, nn.Parameter):
            frozen = not value.requires_grad
        else:
            owner = backbone.get_submodule(name.rpartition('.')[0])
            frozen = not owner.training and not any(
                parameter.requires_grad for parameter in owner.parameters()
            )
        if frozen:
            yield name, value
