"""The form that what a training keeps in its checkpoints must have."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2h_mm.structures.checkpoint_file import TRAINING_STATE

# What Runner.resume() reads.
RESUMED = ('meta', 'state_dict', 'message_hub')
# Kept in the message hub: files that are to be removed once the checkpoint is whole; the last
# iteration with a validation; what names the training, through all its interruptions.
OUTDATED, VALIDATED, RUN = 'outdated_ckpts', 'validated_iter', 'run_id'
RANDOM_STATE = 'random_state'
_MOST = 2**53  # iterations; a float holds no more
_SEEDS = 2**32


def find_malformed(content: Any) -> str | None:
    """What of a checkpoint cannot be what a training has written; None if all may be.

    A file from elsewhere may hold anything: numbers that are none, texts in their place, states
    that native code would read beyond their end.

    Args:
        content: as :func:`~m2h_mm.structures.checkpoint_file.read_checkpoint` returns it.
    """
    missing = [key for key in RESUMED if not isinstance(content, Mapping) or key not in content]
    if missing:
        return f'it is no checkpoint of a training: it has no {", ".join(missing)}'
    for name, check in _CHECKS.items():
        try:
            expected = check(content)
        except Exception:  # of what nobody has thought of
            expected = 'another form'
        if expected is not None:
            return f'its {name} cannot be that of a training: expected {expected}'
    return None


def is_count(value: Any, most: int = _MOST) -> bool:
    """Whether it is a whole number from 0 to ``most``."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and 0 <= value < most


def is_number(value: Any) -> bool:
    """Whether it is a finite number, also as a tensor of one element."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and is_number(value.item())
    plain = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return plain and not isinstance(value, np.complexfloating) and abs(value) <= sys.float_info.max


def is_state(state: Any) -> bool:
    """Whether it is a dict of tensors with plain values under names."""
    return isinstance(state, Mapping) and all(
        isinstance(name, str) and is_dense(value) for name, value in state.items()
    )


def is_dense(value: Any) -> bool:
    """Whether it is a tensor whose values can be read as they are."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_meta
    )


def is_random_state(states: Any) -> bool:
    """Whether it can be given to torch's generators, see
    :func:`~m2h_mm.engine.snapshot.random_state`.
    """
    if not is_state(states) or 'cpu' not in states:
        return False
    sizes = dict(cpu=torch.get_rng_state().numel())
    if torch.cuda.is_available():
        sizes['cuda'] = torch.cuda.get_rng_state().numel()
    return all(
        state.dtype == torch.uint8 and state.ndim == 1 and len(state) == sizes.get(name, len(state))
        for name, state in states.items()
    )


def optimizers(content: Mapping[str, Any]) -> dict[str, Any]:
    """The state of each optimizer by its name; one alone has none."""
    state = content.get('optimizer')
    if state is None:
        return {}
    alone = not isinstance(state, Mapping) or 'param_groups' in state
    return {'': state} if alone else dict(state)


def _meta(content: Mapping) -> str | None:
    meta = content['meta']
    if not isinstance(meta, Mapping):
        return 'a dict'
    for key in ('epoch', 'iter'):
        if not is_count(meta.get(key)):
            return f'{key} to be a number from 0, got {_show(meta.get(key))}'
    seed = meta.get('seed')
    if seed is not None and not is_count(seed, _SEEDS):
        return f'seed to be a number from 0 to {_SEEDS - 1}, got {_show(seed)}'
    return None


def _weights(content: Mapping) -> str | None:
    for key in ('state_dict', 'ema_state_dict'):
        if key in content and not is_state(content[key]):
            return f'{key} to be a dict of tensors, got {_show(content[key])}'
    for name, value in content['state_dict'].items():
        if name.startswith(TRAINING_STATE) and not _can_weight(value):
            return f'{name} to hold finite numbers, and counts from 0'
    return None


def _can_weight(state: Tensor) -> bool:
    if state.is_floating_point():
        return bool(state.isfinite().all())
    return not state.is_complex() and bool((state >= 0).all())


def _message_hub(content: Mapping) -> str | None:
    hub = content['message_hub']
    parts = ('log_scalars', 'runtime_info', 'resumed_keys')
    if not isinstance(hub, Mapping) or not all(isinstance(hub.get(key), Mapping) for key in parts):
        return f'dicts {", ".join(parts)}'
    if not all(isinstance(value, bool) for value in hub['resumed_keys'].values()):
        return 'resumed_keys to be true or false'
    for name, curve in hub['log_scalars'].items():
        if isinstance(curve, Mapping) and not _is_curve(curve):
            return f'values and counts of the curve {_show(name)}'
    for key, value in hub['runtime_info'].items():
        wanted = next((kind for begin, kind in _INFO.items() if str(key).startswith(begin)), None)
        if wanted is not None and not wanted[0](value):
            return f'{key} to be {wanted[1]}, got {_show(value)}'
    return None


def _is_curve(curve: Mapping) -> bool:
    values, counts = curve.get('values'), curve.get('counts')
    return (
        all(is_dense(part) and part.ndim == 1 for part in (values, counts))
        and not (values.is_complex() or counts.is_complex())
        and len(values) == len(counts)
        and is_count(curve.get('max_length'))
        and curve['max_length'] > 0
    )


def _is_path(value: Any) -> bool:
    return value is None or (isinstance(value, str) and '\0' not in value)


# How names in the message hub begin that the checkpoint hooks use, and what they must be.
_INFO: dict[str, tuple[Callable[[Any], bool], str]] = {
    'keep_ckpt_ids': (
        lambda value: isinstance(value, list) and all(map(is_count, value)),
        'a list of numbers from 0',
    ),
    OUTDATED: (
        lambda value: isinstance(value, list) and all(map(_is_path, value)),
        'a list of paths',
    ),
    VALIDATED: (is_count, 'a number from 0'),
    RUN: (lambda value: isinstance(value, str), 'a text'),
    'best_score': (
        lambda value: is_number(value) or (isinstance(value, float) and not math.isfinite(value)),
        'a number',
    ),
    'best_ckpt': (_is_path, 'a path'),
    'last_ckpt': (_is_path, 'a path'),
}


def _optimizer(content: Mapping) -> str | None:
    if 'optimizer' in content and not optimizers(content):
        return 'a dict with state and param_groups'
    for state in optimizers(content).values():
        if not isinstance(state, Mapping) or not isinstance(state.get('state'), Mapping):
            return 'a dict with state and param_groups'
        groups = state.get('param_groups')
        if not isinstance(groups, list) or not all(
            isinstance(group, Mapping) and isinstance(group.get('params'), list) for group in groups
        ):
            return 'param_groups to be a list of dicts with params'
        if not all(isinstance(each, Mapping) for each in state['state'].values()):
            return 'a dict for the state of each parameter'
        if not all(isinstance(each, (int, str)) for group in groups for each in group['params']):
            return 'params to be a list of numbers'
    return None


def _schedulers(content: Mapping) -> str | None:
    states = content.get('param_schedulers')
    lists = list(states.values()) if isinstance(states, Mapping) else [states]
    if states is not None and not all(
        isinstance(each, list) and all(isinstance(state, Mapping) for state in each)
        for each in lists
    ):
        return 'a list of dicts'
    return None


def _random_state(content: Mapping) -> str | None:
    states = content.get(RANDOM_STATE)
    if states is None or is_random_state(states):
        return None
    if not is_state(states) or 'cpu' not in states:
        return 'tensors cpu and cuda'
    size = torch.get_rng_state().numel()
    return f'rows of bytes, {size} of the CPU'


def _show(value: Any) -> str:
    if isinstance(value, (str, int, float, type(None))):
        text = repr(value)
        return text if len(text) <= 60 else f'{text[:60]}...'
    return f'one {type(value).__name__}'


_CHECKS = {
    'meta': _meta,
    'weights': _weights,
    'message hub': _message_hub,
    'optimizer': _optimizer,
    'param_schedulers': _schedulers,
    'random state': _random_state,
}
