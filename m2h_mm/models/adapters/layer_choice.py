"""Which layers of a backbone are adapted, by patterns of their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from m2h_mm.models.backbones.units import backbone_units

from .blank_run import BlankRun

KEY = 'model.adapters'
SHOWN = 12


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns stands for whole parts of a dotted name that follow each other:
    ``mlp.fc*`` for ``blocks.3.mlp.fc1`` and all that is in it.
    """
    return any(
        fnmatchcase(f'.{name}.', f'{before}.{pattern}.{behind}')
        for pattern in patterns
        for before in ('', '*')
        for behind in ('', '*')
    )


def choose_layers(
    backbone: nn.Module, patterns: Sequence[str], last_units: int | None, seen: BlankRun
) -> dict[str, nn.Linear | nn.Conv2d]:
    """The linear layers and convolutions that match and are called, by name.

    Args:
        backbone: has them.
        patterns: see :func:`matches`.
        last_units: only those in so many of the last units. None: all.
        seen: a run of the backbone.

    Raises:
        ValueError: there are none; one could have no effect, or not be trained.
    """
    layers = {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }
    chosen = {name: layer for name, layer in layers.items() if matches(name, patterns)}
    if not chosen:
        raise ValueError(
            f'{KEY}.layers: no layer of model.backbone ({type(backbone).__name__}) is called '
            f'{" or ".join(patterns)}. It has {_endings(layers)}.'
        )
    if last_units is not None:
        units = list(used_units(backbone, seen))
        if last_units > len(units):
            raise ValueError(
                f'{KEY}.last_units: expected a number from 1 to {len(units)}, the units of '
                f'model.backbone that its outputs depend on, got {last_units}.'
            )
        last = units[-last_units:]
        chosen = {
            name: layer for name, layer in chosen.items() if any(is_in(name, u) for u in last)
        }
    # What is behind the last output needs no adapter.
    chosen = {name: layer for name, layer in chosen.items() if _is_reached(name, backbone, seen)}
    _require_effect(chosen, seen)
    return chosen


def used_units(backbone: nn.Module, seen: BlankRun) -> dict[str, nn.Module]:
    """The backbone's units that were called, by name, in the order of the calls."""
    units = {id(unit) for unit in backbone_units(backbone)}
    used = {
        name: module
        for name, module in backbone.named_modules()
        if id(module) in units and name in seen.calls
    }
    return dict(sorted(used.items(), key=lambda item: seen.calls[item[0]].position))


def is_in(name: str, unit: str) -> bool:
    """Whether a module is a unit or in it."""
    return name == unit or name.startswith(f'{unit}.')


def is_norm(module: nn.Module) -> bool:
    """Whether it normalises, by the name of its class."""
    return 'Norm' in type(module).__name__


def _is_reached(name: str, backbone: nn.Module, seen: BlankRun) -> bool:
    """Whether the module was called that a layer is in; lists of modules never are."""
    if name in seen.calls:
        return True
    while name:
        name = name.rpartition('.')[0]
        if type(backbone.get_submodule(name)).forward is not nn.Module.forward:
            return name in seen.calls
    return True


def _require_effect(chosen: dict[str, nn.Module], seen: BlankRun) -> None:
    silent = [name for name in chosen if name not in seen.calls]
    if silent or not chosen:
        what = f'{silent[0]} is' if silent else 'those that are named are'
        raise ValueError(
            f'{KEY}.layers: {what} not called in the forward pass of model.backbone, so that an '
            'adapter would have no effect: the module around it reads its weights, or no output '
            f'depends on it. Name other layers, or a larger {KEY}.last_units.'
        )
    grouped = [name for name, layer in chosen.items() if getattr(layer, 'groups', 1) > 1]
    if grouped:
        raise ValueError(
            f'{KEY}.layers: {grouped[0]} and {len(grouped) - 1} more are grouped convolutions, '
            'whose few weights have no low rank. Name others, or train them as they are: '
            f'{KEY}.also_train.'
        )
    frozen = [name for name in chosen if not seen.calls[name].trains]
    if frozen:
        raise ValueError(
            f'{KEY}: {frozen[0]} and {len(frozen) - 1} more are computed without gradients, so '
            'that their adapters could not be trained. Set model.backbone.frozen_stages=-1, as '
            f'adapters freeze the backbone themselves; for its last units alone: {KEY}.last_units.'
        )


def _endings(names: Iterable[str]) -> str:
    """The last parts of names, numbers left out, the most frequent first."""
    found = Counter(
        '.'.join([part for part in name.split('.') if not part.isdecimal()][-2:]) for name in names
    )
    return ', '.join(name for name, _ in found.most_common(SHOWN))
