"""The form of a config: where dicts, lists, texts and types are expected, whatever is in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from m2h_mm.registry import SCOPE
from m2h_mm.system.spelling import did_you_mean

DEEPEST = 50
_DICT, _LIST, _TEXT = 'a dict', 'a list', 'a text'
_TYPES = {_DICT: Mapping, _LIST: (list, tuple), _TEXT: str}
# None always stands for the default, and what is built already for itself.
_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, Mapping)
FORMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ('model', (_DICT,)),
    ('tasks', (_DICT, _LIST)),
    ('tasks.#', (_TEXT,)),
    ('tasks.*', (_DICT,)),
    ('**.tasks', (_DICT, _LIST)),
    ('**.tasks.#', (_TEXT,)),
    ('**.tasks.*', (_DICT,)),
    ('data_preprocessor', (_DICT,)),
    ('model.data_preprocessor', (_DICT,)),
    ('*_dataloader', (_DICT,)),
    ('*_dataloader.dataset', (_DICT,)),
    ('*_dataloader.*sampler', (_DICT,)),
    ('*_dataloader.**.pipeline', (_LIST,)),
    ('*_dataloader.**.pipeline.*', (_DICT,)),
    ('*_dataloader.**.datasets', (_DICT, _LIST)),
    ('*_dataloader.**.metainfo', (_DICT,)),
    ('*_dataloader.**.label_formats', (_DICT,)),
    ('*_evaluator', (_DICT, _LIST)),
    ('*_evaluator.metrics', (_DICT, _LIST)),
    ('train_cfg', (_DICT,)),
    ('val_cfg', (_DICT,)),
    ('test_cfg', (_DICT,)),
    ('optim_wrapper', (_DICT,)),
    ('optim_wrapper.optimizer', (_DICT,)),
    ('optim_wrapper.clip_grad', (_DICT,)),
    ('optim_wrapper.paramwise_cfg', (_DICT,)),
    ('optim_wrapper.paramwise_cfg.custom_keys', (_DICT,)),
    ('param_scheduler', (_DICT, _LIST)),
    ('default_hooks', (_DICT,)),
    ('default_hooks.*', (_DICT,)),
    ('custom_hooks', (_LIST,)),
    ('custom_imports', (_DICT,)),
    ('custom_imports.imports', (_LIST, _TEXT)),
    ('env_cfg', (_DICT,)),
    ('env_cfg.mp_cfg', (_DICT,)),
    ('env_cfg.dist_cfg', (_DICT,)),
    ('randomness', (_DICT,)),
    ('auto_scale_lr', (_DICT,)),
    ('log_processor', (_DICT,)),
    ('visualizer', (_DICT,)),
    ('visualizer.vis_backends', (_LIST,)),
    ('work_dir', (_TEXT,)),
    ('launcher', (_TEXT,)),
    ('default_scope', (_TEXT,)),
    ('experiment_name', (_TEXT,)),
    ('runner_type', (_TEXT,)),
)
"""Places, and what may stand there: * is one key, ** are some, # is a number."""
TYPED = (
    'model',
    '*_dataloader.dataset',
    '*_dataloader.dataset.pipeline.*',
    'optim_wrapper.optimizer',
    'param_scheduler.*',
    'custom_hooks.*',
    'visualizer',
)
"""Places of dicts that are nothing without a type."""


def _compile(place: str) -> re.Pattern:
    parts = re.split(r'(\*\*|\*|#)', place)
    kinds = {'**': '.*', '*': r'[^.]*', '#': r'\d+'}
    return re.compile(''.join(kinds.get(part) or re.escape(part) for part in parts))


_FORMS = [(_compile(place), kinds) for place, kinds in FORMS]
_TYPED = [_compile(place) for place in TYPED]
# Whose code a config of ours is given to. What goes wrong in a user's own module is shown by him.
_KNOWN_PACKAGES = {SCOPE, 'torch', 'mmengine', 'mmcv', 'mmseg'}


def check_form(settings: Mapping) -> None:
    """Refuse a number in place of a dict, and the like.

    Args:
        settings: the top of a config, without the variables of its file.

    Raises:
        ValueError: with the key, what was expected, and what came.
    """
    for path, value in _places(settings, '', 0):
        wanted = next((kinds for pattern, kinds in _FORMS if pattern.fullmatch(path)), ())
        if wanted and isinstance(value, _PLAIN):
            if not any(isinstance(value, _TYPES[kind]) for kind in wanted):
                raise ValueError(f'{path}: expected {" or ".join(wanted)}, got {_show(value)}.')


def check_types(settings: Mapping) -> None:
    """Refuse dicts without a type that are nothing without one.

    Raises:
        ValueError: with the key.
    """
    for path, value in _places(settings, '', 0):
        typed = any(pattern.fullmatch(path) for pattern in _TYPED)
        if typed and isinstance(value, Mapping) and 'type' not in value:
            meant = next(filter(None, (did_you_mean(str(key), ['type']) for key in value)), '')
            raise ValueError(
                f"{path}: expected a dict with a 'type', got {_show(dict(value))}.{meant}"
            )


@contextmanager
def as_values_of(path: str) -> Iterator[None]:
    """Within it a part of a config is built; an exception that no class raises on purpose becomes a
    ValueError with the key, unless it comes from a user's own code.
    """
    try:
        yield
    except (TypeError, LookupError, AttributeError, ArithmeticError, AssertionError) as error:
        packages = {
            str(frame.f_globals.get('__name__')).partition('.')[0]
            for frame, _ in list(walk_tb(error.__traceback__))[1:]
        }
        if not packages - sys.stdlib_module_names <= _KNOWN_PACKAGES:
            raise
        raise ValueError(f'{path}: it cannot be built with these values ({error!r}).') from error


def _places(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > DEEPEST:
        raise ValueError(f'{path[:100]}: nested more than {DEEPEST} times.')
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, item in items:
        here = f'{path}.{key}' if path else str(key)
        yield here, item
        yield from _places(item, here, depth + 1)


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 200 else f'{shown[:200]}...'
