"""The weights in what a checkpoint holds, whatever wrapped them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

DEPTH = 3  # of dicts in dicts that are looked into
# Parts of keys that torch's wrappers put in, anywhere: torch.compile, FSDP, checkpointing.
_OF_WRAPPERS = re.compile(
    r'(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
)
# What dicts and prefixes around weights are called that say nothing of which weights they are.
_NEUTRAL = set('state dict model module net network backbone pretrained encoder'.split())
# A training with a teacher is tested with the teacher.
_RANKS = {'teacher': 1, 'ema': 3, 'averaged': 3, 'student': 4}
_UNKNOWN = 2
# Weights that are there twice have about as many keys in both places.
_ALIKE = 0.9
_SHOWN = 4


@dataclass(frozen=True)
class Weights:
    """The weights that were found.

    Attributes:
        state: name to tensor, without what stood around and before the names.
        wrapper: keys of the dicts around them, such as ``model``; empty: none.
        prefix: what every name began with, such as ``module.``.
        others: names beside them that do not begin so.
        rivals: other places in the file that hold weights of the same names.
    """

    state: dict[str, Tensor]
    wrapper: str = ''
    prefix: str = ''
    others: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()

    def report(self, source: str | Path) -> None:
        """Log where in the file the weights were, if there was a choice or something is left."""
        lines = []
        if self.prefix:
            lines.append(f'the names begin with {self.prefix!r}, which is left out')
        if self.rivals and (self.wrapper, self.prefix) != ('state_dict', ''):  # else our own
            lines.append(
                f'taken are those {_place(self.wrapper, self.prefix)}, not those '
                f'{" or ".join(self.rivals)}'
            )
        if self.prefix and self.others and not self.rivals:
            lines.append(f'not used: {", ".join(self.others[:_SHOWN])}')
        if lines:
            print_log(f'Weights of {source}: {"; ".join(lines)}.', 'current')


def find_weights(
    content: Any, belongs: Callable[[str], object], source: str | Path, least: int = 1
) -> Weights:
    """The weights in what a checkpoint holds.

    Dicts around them (``state_dict``, ``model``, ...) and prefixes of their names (``module.``,
    ``_orig_mod.``, ``model.``, ``teacher.backbone.``, ...) may have any names and be in any order:
    what counts is that behind a prefix the wanted names follow. Of a teacher and its student the
    teacher is taken, of a model and its moving average the model.

    Args:
        content: as :func:`~m2h_mm.structures.checkpoint_file.read_checkpoint` returns it.
        belongs: whether a name, without prefix, is one of those that are wanted.
        source: the file, for messages.
        least: how many names must belong for a prefix to be taken for one.

    Raises:
        ValueError: the file holds no dict, no tensor under a name, or the weights in two places of
            which neither is known to be the right one.
    """
    found = require_weights(content, source)
    votes = Counter(
        (wrapper, prefix)
        for wrapper, state in found.items()
        for name in state
        for prefix, rest in _splits(name)
        if belongs(rest)
    )
    best = max(votes.values(), default=0)
    places = sorted(
        (place for place, number in votes.items() if number >= max(best * _ALIKE, least)),
        key=lambda place: (_rank(*place), -votes[place], len(place[1])),
    )
    if not places:  # another model's: the largest dict, as it is
        wrapper = max(found, key=lambda wrapper: len(found[wrapper]))
        return Weights(found[wrapper], wrapper)
    (wrapper, prefix), *rivals = places
    if rivals and _rank(wrapper, prefix) == _rank(*rivals[0]) == _UNKNOWN:
        raise ValueError(
            f'{source} holds these weights more than once: '
            f'{" and ".join(_place(*place) for place in places[:_SHOWN])}. Save those that you '
            'want alone: torch.save(state_dict, ...).'
        )
    state = found[wrapper]
    return Weights(
        {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)},
        wrapper,
        prefix,
        tuple(name for name in state if not name.startswith(prefix)),
        tuple(_place(*place) for place in rivals),
    )


def require_weights(content: Any, source: str | Path) -> dict[str, dict[str, Tensor]]:
    """All dicts with tensors under names in a checkpoint, by the keys that lead to them.

    Raises:
        ValueError: there is none.
    """
    found = dict(_states(content))
    if not found:
        raise ValueError(
            f'{source} holds no weights: expected a dict of tensors, {_what(content)}.'
        )
    return found


def require_dense(state: Mapping[str, Tensor], source: str | Path) -> None:
    """Refuse tensors whose values cannot be copied into a weight.

    Raises:
        ValueError: sparse or quantized ones, or those without values.
    """
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise ValueError(
                f'{source}: {name!r} is no plain tensor ({value.layout}, {value.dtype}, '
                f'{value.device}). Save it as one: tensor.dequantize() or tensor.to_dense().'
            )


def _states(content: Any, path: str = '', depth: int = 0) -> Iterator[tuple[str, dict]]:
    """Each dict with tensors under names, with the keys that lead to it."""
    if not isinstance(content, Mapping) or depth > DEPTH:
        return
    state = {
        _OF_WRAPPERS.sub('', name): value
        for name, value in content.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if state:
        yield path, state
    for name, value in content.items():
        if isinstance(name, str):
            yield from _states(value, f'{path}.{name}' if path else name, depth + 1)


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """A name cut before each of its parts."""
    yield '', name
    for dot in re.finditer(r'\.', name):
        yield name[: dot.end()], name[dot.end() :]


def _rank(wrapper: str, prefix: str) -> int:
    """The lower, the likelier are these the weights that are meant."""
    words = set(filter(None, re.split(r'[._\d]+', f'{wrapper}.{prefix}'.lower())))
    ranks = [_RANKS[word] for word in words if word in _RANKS]
    return max(ranks) if ranks else 0 if words <= _NEUTRAL else _UNKNOWN


def _place(wrapper: str, prefix: str) -> str:
    parts = [f'below {wrapper!r}'] if wrapper else []
    parts += [f'with names that begin with {prefix!r}'] if prefix else []
    return ' '.join(parts) or 'at the top'


def _what(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f'found one {type(content).__name__}'
    return f'found a dict of {[str(key)[:40] for key in list(content)[:6]]}'
