"""Numbers of a config that cannot be, and values of the wrong kind."""

from __future__ import annotations

import inspect
import math
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch
from types import UnionType
from typing import Any

Test = Callable[[Any], bool]


def whole(low: int) -> tuple[str, Test]:
    """A whole number, no truth value, of at least ``low``."""
    return (
        f'a whole number of {low} or more',
        lambda value: (
            not isinstance(value, bool)
            and isinstance(value, (int, float))
            and value % 1 == 0
            and value >= low
        ),
    )


LARGEST = sys.float_info.max


def number(low: float, more: bool = False) -> tuple[str, Test]:
    """A finite number of at least ``low``, or of more than that."""
    return (
        f'a number {"above" if more else "of at least"} {low:g}',
        lambda value: (
            not isinstance(value, bool)
            and isinstance(value, (int, float))
            and abs(value) <= LARGEST  # also of an integer that is no float
            and (value > low if more else value >= low)
        ),
    )


# NumPy takes no larger one.
SEED = ('a whole number of 0..4294967295', lambda value: whole(0)[1](value) and value < 2**32)
TRUTH = ('True or False', lambda value: value in (True, False))
# The numbers that mmengine and torch read. Those of this project's classes they check themselves.
# None always stands for the default.
NUMBERS: tuple[tuple[str, tuple[str, Test]], ...] = (
    ('train_cfg.max_iters', whole(1)),
    ('train_cfg.max_epochs', whole(1)),
    ('train_cfg.val_interval', whole(1)),
    ('train_cfg.val_begin', whole(0)),
    ('*_dataloader.batch_size', whole(1)),
    ('*_dataloader.num_workers', whole(0)),
    ('*_dataloader.prefetch_factor', whole(1)),
    ('*_dataloader.num_batch_per_epoch', whole(1)),
    ('*_dataloader.timeout', number(0)),
    ('optim_wrapper.accumulative_counts', whole(1)),
    ('optim_wrapper.clip_grad.max_norm', number(0, more=True)),
    ('optim_wrapper.clip_grad.clip_value', number(0, more=True)),
    ('optim_wrapper.optimizer.lr', number(0)),
    ('optim_wrapper.optimizer.weight_decay', number(0)),
    ('optim_wrapper.optimizer.momentum', number(0)),
    ('optim_wrapper.optimizer.eps', number(0)),
    ('optim_wrapper.paramwise_cfg.*_mult', number(0)),
    ('param_scheduler*.begin', whole(0)),
    ('param_scheduler*.end', whole(1)),
    ('param_scheduler*.T_max', whole(1)),
    ('param_scheduler*.step_size', whole(1)),
    ('param_scheduler*.eta_min', number(0)),
    ('log_processor.window_size', whole(1)),
    ('*_hooks*.num_frames', whole(0)),
    ('*_hooks*.max_s*s', whole(0)),
    ('*_hooks*.max_gib', number(0, more=True)),
    ('model*.*channels', whole(1)),
    ('model*.*channels.*', whole(1)),
    ('model*.num_heads', whole(1)),
    ('model*.num_heads.*', whole(1)),
    ('model*.embed_dims', whole(1)),
    ('model*.window_size', whole(1)),
    ('model*.pooling', whole(1)),
    ('model*.loss_weight', number(0)),
    ('tasks.*.num_classes', whole(1)),
    ('*.tasks.*.num_classes', whole(1)),
    ('*dataset.num_train', whole(0)),
    ('*dataset.num_val', whole(0)),
    ('auto_scale_lr.base_batch_size', whole(1)),
    ('randomness.seed', SEED),
    ('randomness.d*', TRUTH),
    ('env_cfg.cudnn_benchmark', TRUTH),
    ('*_dataloader.drop_last', TRUTH),
    ('*_dataloader.persistent_workers', TRUTH),
    ('*_dataloader.pin_memory', TRUTH),
    ('env_cfg.mp_cfg.opencv_num_threads', whole(0)),
    ('env_cfg.dist_cfg.timeout', number(0, more=True)),
)


def check_numbers(settings: Mapping) -> None:
    """Refuse numbers that cannot be, such as ``max_iters=0``, and all that are not a number.

    Args:
        settings: the top of a config, without the variables of its file.

    Raises:
        ValueError: with the key, what was expected, and what came.
    """
    for path, value in _leaves(settings, ''):
        if isinstance(value, float) and math.isnan(value):
            raise ValueError(f'{path}: expected a number, got {value}.')
        for pattern, (expected, fits) in NUMBERS:
            if value is not None and fnmatch(path, pattern) and not fits(value):
                raise ValueError(f'{path}: expected {expected}, got {value!r}.')
        is_limit = fnmatch(path, '*_hooks*.interval') or fnmatch(path, '*_hooks*.max_keep_ckpts')
        if is_limit and not (value == -1 or whole(1)[1](value)):
            raise ValueError(
                f'{path}: expected a whole number of 1 or more, or -1 for none, got {value!r}.'
            )


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Path and value of all that is neither a dict nor a list."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f'{path}.{key}' if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _leaves(item, f'{path}.{index}')
    else:
        yield path, value


def check_argument_types(path: str, cls: Any, part: Mapping) -> None:
    """Refuse a text where a class asks for a number, a truth value, and the like.

    Only arguments are looked at that are annotated with plain types alone, such as ``int | None``.

    Args:
        path: where ``part`` stands.
        cls: the class, or function, that it is the config of.
        part: the arguments.

    Raises:
        ValueError: with the key, what was expected, and what came.
    """
    function = cls.__init__ if inspect.isclass(cls) else cls
    for name, parameter in inspect.signature(function).parameters.items():
        value = part.get(name)
        if name not in part or value is None or not isinstance(value, (str, bool, int, float)):
            continue
        kinds = _plain_kinds(parameter.annotation)
        if kinds is None or any(_is_a(value, kind) for kind in kinds):
            continue
        raise ValueError(f'{path}.{name}: expected {" or ".join(sorted(kinds))}, got {value!r}.')


def _plain_kinds(annotation: Any) -> set[str] | None:
    """Names of the types that an annotation allows; None unless all of them are plain."""
    if isinstance(annotation, str):
        names = {name.strip() for name in annotation.split('|')}
    elif typing.get_origin(annotation) in (typing.Union, UnionType):
        names = {getattr(kind, '__name__', '') for kind in typing.get_args(annotation)}
    else:
        names = {getattr(annotation, '__name__', '')}
    names -= {'None', 'NoneType'}
    return names if names and names <= {'int', 'float', 'bool', 'str'} else None


def _is_a(value: Any, kind: str) -> bool:
    if kind == 'int':  # 4e4 is one, too
        return not isinstance(value, (bool, str)) and value % 1 == 0
    if kind == 'float':
        return not isinstance(value, (bool, str))
    if kind == 'bool':
        return value in (0, 1)
    return isinstance(value, str)
