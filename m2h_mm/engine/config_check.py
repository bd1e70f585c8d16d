"""Check of a config before training: misspelt keys, unknown types, wrong arguments."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, WEIGHT_INITIALIZERS, Registry, init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from m2h_mm import registry
from m2h_mm.models.building import build_without_weights

# What a config may have at its top beside the arguments of mmengine's Runner: what the runner reads
# of the config itself, what `build_runner` reads, and what a sharded training needs.
TOP_LEVEL = {
    'auto_scale_lr',
    'custom_imports',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'strategy',
    'sync_bn',
    'tasks',
}
# Where a class of which registry stands; the first pattern that fits counts.
PLACES: tuple[tuple[str, Registry], ...] = (
    ('model_wrapper_cfg', registry.MODEL_WRAPPERS),
    ('tasks.*', registry.TASKS),
    ('*.tasks.*', registry.TASKS),
    ('model*init_cfg*', WEIGHT_INITIALIZERS),
    ('model*', registry.MODELS),
    ('data_preprocessor', registry.MODELS),
    ('*_dataloader.dataset*pipeline*', registry.TRANSFORMS),
    ('*_dataloader.dataset*', registry.DATASETS),
    ('*_dataloader.*sampler', registry.DATA_SAMPLERS),
    ('*_dataloader.*', FUNCTIONS),
    ('*_evaluator.metrics*', registry.METRICS),
    ('*_evaluator', registry.EVALUATOR),
    ('*_evaluator.*', registry.METRICS),
    ('*_cfg', registry.LOOPS),
    ('optim_wrapper.optimizer', registry.OPTIMIZERS),
    ('optim_wrapper', registry.OPTIM_WRAPPERS),
    ('param_scheduler*', registry.PARAM_SCHEDULERS),
    ('*_hooks*', registry.HOOKS),
    ('visualizer.vis_backends*', registry.VISBACKENDS),
    ('visualizer', registry.VISUALIZERS),
    ('log_processor', registry.LOG_PROCESSORS),
)
# What mmengine takes out of a config before it builds the rest; and the arguments of dicts that
# have no type.
EXTRA: tuple[tuple[str, set[str]], ...] = (
    ('*_hooks*', {'priority'}),
    ('optim_wrapper', {'paramwise_cfg', 'constructor'}),
    ('param_scheduler*', {'convert_to_iter_based'}),
    ('*_cfg', {'by_epoch'}),
    ('env_cfg', {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
    ('auto_scale_lr', {'enable', 'base_batch_size'}),
    ('randomness', set(inspect.signature(Runner.set_randomness).parameters) - {'self'}),
    (
        '*_dataloader',
        {
            *inspect.signature(DataLoader).parameters,
            'num_batch_per_epoch',
            'disable_subprocess_warning',
        },
    ),
)
# Arguments of mmengine's DefaultOptimWrapperConstructor, which takes any.
PARAMWISE = {
    'custom_keys',
    'lr_mult',
    'decay_mult',
    'bias_lr_mult',
    'bias_decay_mult',
    'norm_decay_mult',
    'flat_decay_mult',
    'dwconv_decay_mult',
    'dcn_offset_lr_mult',
    'bypass_duplicate',
}
# Dicts without a type that take any key: names of parameters, options of other libraries.
OPEN = ('env_cfg.*', 'optim_wrapper.paramwise_cfg*', 'model_wrapper_cfg', 'strategy*', '*.metainfo')
# Those of EXTRA that are dicts without a type.
UNTYPED = ('env_cfg', 'auto_scale_lr', 'randomness', '*_dataloader')


def runner_keys() -> set[str]:
    """The keys at the top of a config that are read; all others are variables of its file."""
    return (set(inspect.signature(Runner).parameters) | TOP_LEVEL) - {'cfg'}


def check_overrides(overrides: Mapping, base: Mapping) -> None:
    """Refuse keys that ``base`` does not have and that no class in their place takes.

    What is below ``_delete_=True`` replaces its counterpart, and a new dict with a ``type`` is a
    part of its own: both are left to :func:`check_config`. Names of tasks are left to the model.

    Args:
        overrides: nested, ``_delete_`` as in a config with a ``_base_``.
        base: the config that they are for.

    Raises:
        ValueError: with the key and the closest one that exists; also for a variable of the config
            file, which has been used when the file was read, so that changing it has no effect.
    """
    unread = [key for key in overrides if key in base and key not in runner_keys()]
    if unread:
        raise ValueError(
            f'{unread[0]}: this is a variable of the config file, already put where it is used; '
            'another value here has no effect. Override the places that use it (see m2h-mm '
            'print-config).'
        )
    tasks = set(base.get('tasks') or base.get('model', {}).get('tasks') or ())
    _check_overrides(overrides, base, '', tasks)


def _check_overrides(overrides: Mapping, base: Any, path: str, tasks: set[str]) -> None:
    for key, value in overrides.items():
        here = f'{path}.{key}'.lstrip('.')
        if key == '_delete_':
            continue
        if isinstance(base, (list, tuple)):
            if not key.isdigit() or int(key) >= len(base):
                raise ValueError(
                    f'{here}: {path} is a list of {len(base)}; expected a position '
                    f'0..{len(base) - 1}, got {key!r}. To replace the list, give a list.'
                )
            old = base[int(key)]
        elif key in base:
            old = base[key]
        else:
            kind = overrides.get('type', base.get('type'))
            _check_new_key(key, value, here, path, kind, set(base), tasks)
            continue
        if (
            isinstance(value, Mapping)
            and isinstance(old, (Mapping, list, tuple))
            and not value.get('_delete_')
        ):
            _check_overrides(value, old, here, tasks)


def _check_new_key(
    key: str, value: Any, here: str, path: str, kind: Any, siblings: set[str], tasks: set[str]
) -> None:
    if key == 'type' or key in tasks or path.split('.')[-1] == 'tasks':
        return
    if any(fnmatch(path, pattern) for pattern in OPEN):
        return
    # The class of a task, and of its metric, is registered under the task's name.
    if kind is None and path.split('.')[-2:-1] in (['tasks'], ['metrics']):
        kind = path.split('.')[-1]
    known, closed = (runner_keys(), True) if not path else _arguments(kind, path)
    if (
        key in known
        or not closed
        or (kind is None and path and isinstance(value, Mapping) and 'type' in value)
    ):
        return
    raise ValueError(
        f'{here}: there is no such key in the base config'
        + (f', and {kind} has no argument {key!r}' if kind else '')
        + f'.{_did_you_mean(key, known | siblings)}'
    )


def check_config(cfg: Config) -> None:
    """Build and look up whatever can be without data, weights or memory.

    :func:`check_arguments`; then the model is built, on the meta device where it can be, and
    transforms and evaluators are built.

    Raises:
        ValueError: with the key, and what was expected; also whatever the classes themselves
            refuse.
    """
    check_arguments(cfg)
    build_without_weights(cfg.model)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for step in (cfg.get(key) or {}).get('dataset', {}).get('pipeline', ()):
            registry.TRANSFORMS.build(dict(step, _scope_=registry.SCOPE))
    for key in ('val_evaluator', 'test_evaluator'):
        if isinstance(cfg.get(key), Mapping) and 'metrics' in cfg[key]:
            registry.EVALUATOR.build(cfg[key])


def check_arguments(cfg: Config) -> None:
    """Compare the config of every part with the signature of its class; nothing is built.

    The parts of a model check themselves when the model is built. What is no dict, such as a hook
    that was built already, is left alone.

    Raises:
        ValueError: with the key, and what was expected.
    """
    init_default_scope(cfg.get('default_scope', registry.SCOPE))
    settings = cfg._cfg_dict
    for path, part in _typed(settings, ''):
        _check_arguments(path, part)
    preprocessor = (cfg.get('model') or {}).get('data_preprocessor')
    if isinstance(preprocessor, Mapping) and 'type' in preprocessor:
        _check_arguments('model.data_preprocessor', preprocessor)
    for name, args in (cfg.get('tasks') or {}).items():
        if registry.TASKS.get(args.get('type', name)):  # else the model says what is known
            _check_arguments(f'tasks.{name}', {'type': name, **args})
    for pattern, names in EXTRA:
        # The dicts without a type at the top of a config.
        for key in settings:
            part = settings[key]
            if pattern in UNTYPED and fnmatch(key, pattern) and isinstance(part, Mapping):
                _refuse_unknown(key, key, part, names)
    wrapper = cfg.get('optim_wrapper')
    if isinstance(wrapper, Mapping) and 'constructor' not in wrapper:
        key = 'optim_wrapper.paramwise_cfg'
        _refuse_unknown(key, key, wrapper.get('paramwise_cfg') or {}, PARAMWISE)
    hooks = cfg.get('default_hooks') or {}
    for name, hook in hooks.items():
        if isinstance(hook, Mapping) and 'type' not in hook:
            raise ValueError(
                f"default_hooks.{name}: expected a dict with a 'type', got {dict(hook)}."
                + _did_you_mean(name, set(hooks) - {name})
            )


def _typed(value: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    """Path and config of all that is built from a class, except below ``model``, whose parts check
    themselves.
    """
    if isinstance(value, Mapping):
        if isinstance(value.get('type'), str):
            yield path, value
        if path != 'model':
            keys = value if path else [key for key in value if key in runner_keys()]
            for key in keys:
                yield from _typed(value[key], f'{path}.{key}'.lstrip('.'))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _typed(item, f'{path}.{index}')


def _check_arguments(path: str, part: Mapping) -> None:
    known, closed = _arguments(part['type'], path)
    if closed:
        _refuse_unknown(path, part['type'], part, known)


def _refuse_unknown(path: str, owner: Any, part: Mapping, known: set[str]) -> None:
    unknown = [key for key in part if key not in known | {'type', '_scope_'}]
    if unknown:
        raise ValueError(
            f'{path}.{unknown[0]}: {owner} has no argument {unknown[0]!r}; it takes '
            f'{sorted(known)}.{_did_you_mean(unknown[0], known)}'
        )


def _arguments(kind: Any, path: str) -> tuple[set[str], bool]:
    """Arguments that ``kind``, which stands at ``path``, takes; and whether these are all.

    Raises:
        ValueError: ``kind`` is not registered.
    """
    extra = set().union(*(names for pattern, names in EXTRA if fnmatch(path, pattern)))
    if kind is None:
        return extra, True
    cls = kind
    if isinstance(kind, str):
        place = next((place for pattern, place in PLACES if fnmatch(path, pattern)), None)
        if place is None:
            return extra, False
        cls = place.get(kind)
        if cls is None:
            raise ValueError(
                f'{path}.type: {kind!r} is not '
                f'registered.{_did_you_mean(kind, _registered(place))} A class of your own is '
                'registered in a file named by custom_imports.'
            )
    names, closed = class_arguments(cls)
    return names | extra, closed


def class_arguments(cls: Any) -> tuple[set[str], bool]:
    """Names of the arguments of a class, through ``**kwargs`` those of its parents, or of a
    function; and whether these are all: not if no parent takes the ``**kwargs``, which then serve
    another purpose.
    """
    if not inspect.isclass(cls):
        parameters = inspect.signature(cls).parameters.values()
        return _named(parameters), not any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in parameters
        )
    names: set[str] = set()
    closed = True
    for parent in cls.__mro__:
        if parent in (nn.Module, object):
            break
        if '__init__' in vars(parent):
            parameters = list(inspect.signature(parent.__init__).parameters.values())[1:]
            names |= _named(parameters)
            closed = not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
            # An optimizer that wraps another one takes that one's arguments.
            if closed or issubclass(cls, torch.optim.Optimizer):
                break
    return names, closed


def _named(parameters: Iterable[inspect.Parameter]) -> set[str]:
    return {
        parameter.name
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


def _registered(place: Registry) -> set[str]:
    names = set()
    level: Registry | None = place
    while level is not None:
        names |= set(level.module_dict)
        level = level.parent
    return names


def _did_you_mean(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, sorted(known), n=1)
    return f' Did you mean {close[0]!r}?' if close else ''
