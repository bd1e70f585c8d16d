"""Check of a config before its parts are built: misspelt keys, unknown types, wrong arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from importlib.util import find_spec
from itertools import combinations
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from torch import nn

from m2h_mm import registry
from m2h_mm.models.building import build_without_weights
from m2h_mm.system.spelling import did_you_mean

from .config_form import as_values_of, check_form, check_types
from .config_places import arguments, find_class, kind_of, registered, runner_keys, untyped_keys
from .config_values import check_argument_types, check_numbers

# Of names with two letters swapped, or one missing.
TOO_SIMILAR, TWINS = 0.75, 0.85


def check_config(cfg: Config) -> None:
    """Build and look up whatever can be without data, weights or memory.

    :func:`check_arguments`; then the model is built, on the meta device where it can be, and
    transforms and evaluators are built.

    Raises:
        ValueError: with the key, and what was expected; also whatever the classes themselves
            refuse.
    """
    check_arguments(cfg)
    check_types({key: cfg._cfg_dict[key] for key in cfg if key in runner_keys()})
    if not cfg.get('model'):
        raise ValueError("model: expected a dict with a 'type', the config has none.")
    with as_values_of('model'):
        model = build_without_weights(cfg.model)
    warn_of_unused_names(cfg, model)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        dataset = (cfg.get(key) or {}).get('dataset') or {}
        for step in dataset.get('pipeline') or ():
            if isinstance(step, Mapping):
                with as_values_of(f'{key}.dataset.pipeline, {step["type"]}'):
                    registry.TRANSFORMS.build(dict(step, _scope_=registry.SCOPE))
    for key in ('val_evaluator', 'test_evaluator'):
        if isinstance(cfg.get(key), Mapping) and 'metrics' in cfg[key]:
            with as_values_of(key):
                registry.EVALUATOR.build(cfg[key])


def check_arguments(cfg: Config) -> None:
    """Compare all parts of a config with the signatures of their classes, and numbers with what
    they can be; nothing is built.

    What is no dict, such as a hook that was built already, is left alone, and so are parts within
    parts of a model that are not of this project.

    Raises:
        ValueError: with the key, and what was expected.
    """
    settings = {key: cfg._cfg_dict[key] for key in cfg if key in runner_keys()}
    check_form(settings)
    scope = cfg.get('default_scope') or registry.SCOPE
    # mmengine imports the package of that name.
    if scope not in registry.MODELS.root.children and not (
        scope.isidentifier() and find_spec(scope)
    ):
        raise ValueError(
            f'default_scope: there is no package {scope!r}; expected {registry.SCOPE!r}.'
        )
    init_default_scope(scope)
    check_numbers(settings)
    # First what others are given a copy of.
    for key in sorted(settings, key=lambda key: key != 'tasks'):
        for path, part in _parts(settings[key], key):
            _check_part(path, part, settings)
    _check_hooks(settings.get('default_hooks') or {})
    _check_clips(settings.get('train_dataloader') or {})


def warn_of_unused_names(cfg: Config, model: nn.Module) -> None:
    """Say which ``custom_keys`` of the optimizer are in the name of no parameter of ``model``, if
    it is built already; and where parts of other packages, whose inner dicts take any key, are
    given two of nearly the same name.
    """
    for path, one, other in _twins(cfg.get('model') or {}, 'model'):
        print_log(
            f'{path}: {one} and {other} stand side by side. Is one of them misspelt? A key that '
            'its class does not read has no effect.',
            logger='current',
            level='WARNING',
        )
    wrapper = cfg.get('optim_wrapper')
    if (
        not isinstance(model, nn.Module)
        or not isinstance(wrapper, Mapping)
        or 'constructor' in wrapper
    ):
        return
    names = [f'.{name}' for name, _ in model.named_parameters()]
    for key in (wrapper.get('paramwise_cfg') or {}).get('custom_keys') or ():
        if not any(key in name for name in names):
            words = {word for name in names for word in name.split('.') if word}
            print_log(
                f'optim_wrapper.paramwise_cfg.custom_keys.{key}: no parameter of the model has '
                f'this in its name, so it has no effect.{did_you_mean(key, words)}',
                logger='current',
                level='WARNING',
            )


def _twins(value: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """Keys of one dict that are nearly the same, but for numbers in them."""
    if isinstance(value, Mapping):
        names = {key: ''.join(filter(str.isalpha, key)) for key in value}
        for one, other in combinations(sorted(names), 2):
            alike = SequenceMatcher(None, names[one], names[other]).ratio()
            if TWINS <= alike < 1:
                yield path, one, other
        for key, item in value.items():
            yield from _twins(item, f'{path}.{key}')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _twins(item, f'{path}.{index}')


def refuse_unknown(path: str, owner: Any, part: Mapping, known: set[str]) -> None:
    """Raise a ValueError for the first key of ``part``, which stands at ``path``, that is not
    known.
    """
    for key in part:
        if key not in known | {'type', '_scope_', '_delete_'}:
            inherited = (
                f' If it comes from the parent config, put _delete_=True into {path} to start '
                'afresh.'
            )
            raise ValueError(
                f'{path}.{key}: {owner} has no argument {key!r}; it takes {sorted(known)}.'
                f'{did_you_mean(key, known | {"type", "_delete_"})}'
                f'{inherited if "type" in part else ""}'
            )


def _parts(value: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    """Path and content of every dict of a config, from the top down."""
    if isinstance(value, Mapping):
        yield path, value
        inside_model = path.startswith('model.') and path != 'model.tasks'
        if inside_model and not _is_ours(value, path):
            return
        for key, item in value.items():
            yield from _parts(item, f'{path}.{key}')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _parts(item, f'{path}.{index}')


def _is_ours(part: Mapping, path: str) -> bool:
    """Whether a part of a model, or a dict of them, belongs to this project, which registers all
    that its parts are made of.
    """
    kind = part.get('type')
    if not isinstance(kind, str):
        return 'type' not in part
    return kind in registered(registry.MODELS) and find_class(kind, path).__module__.startswith(
        f'{registry.SCOPE}.'
    )


def _check_part(path: str, part: Mapping, settings: Mapping) -> None:
    kind = kind_of(path, part)
    if kind is None:
        known = untyped_keys(path)
        parent = path.rpartition('.')[0]
        if parent == 'optim_wrapper.paramwise_cfg.custom_keys':
            optimizer = settings['optim_wrapper'].get('optimizer') or {}
            known = {'lr_mult', 'decay_mult'}
            known |= arguments(optimizer.get('type'), 'optim_wrapper.optimizer')[0]
        if path.startswith('optim_wrapper') and 'constructor' in settings['optim_wrapper']:
            return  # which reads them its own way
        if known is not None:
            refuse_unknown(path, path, part, known)
        return
    container = path.rpartition('.')[0].rpartition('.')[2]
    if 'type' not in part and container in ('tasks', 'metrics'):
        if kind not in registered(registry.TASKS):
            raise ValueError(
                f"{path}: unknown task {kind!r}, and the dict has no 'type'."
                f'{did_you_mean(kind, registered(registry.TASKS))} A task of your own is '
                'registered in a file named by custom_imports.'
            )
        if container == 'metrics' and kind not in registered(registry.METRICS):
            return  # it has the metric of the task that it derives from
    elif path.startswith('model.') and (
        path.rpartition('.')[2].endswith('_cfg') or '.' in str(kind)
    ):
        return  # layers, initialisations and parts of other packages, checked when they are built
    known, closed = arguments(kind, path)
    if closed:
        refuse_unknown(path, kind, part, known)
    cls = find_class(kind, path)
    if cls is not None:
        check_argument_types(path, cls, part)


def _check_clips(loader: Mapping) -> None:
    """Refuse batches that cut clips in two: the parts would have no neighbours."""
    sampler = loader.get('sampler')
    if not isinstance(sampler, Mapping) or not isinstance(loader.get('batch_size'), int):
        return
    if str(sampler.get('type')).rpartition('.')[2] != 'ClipSampler':
        return
    length = sampler.get('clip_length', 2)
    if loader['batch_size'] % length:
        raise ValueError(
            f'train_dataloader.batch_size: expected a multiple of sampler.clip_length={length}, '
            f'for it counts frames, got {loader["batch_size"]}.'
        )


def _check_hooks(hooks: Mapping) -> None:
    for name, hook in hooks.items():
        if isinstance(hook, Mapping) and 'type' not in hook:
            raise ValueError(
                f"default_hooks.{name}: expected a dict with a 'type', got {dict(hook)}."
                + did_you_mean(name, set(hooks) - {name})
            )
        for other in hooks:
            if (
                other < name
                and isinstance(hook, Mapping)
                and isinstance(hooks[other], Mapping)
                and hook['type'] == hooks[other].get('type')
                and SequenceMatcher(None, name, other).ratio() >= TOO_SIMILAR
            ):
                raise ValueError(
                    f'default_hooks: {other} and {name} are two {hook["type"]}. Is one of the '
                    'names misspelt? A second hook on purpose needs a name that is less similar.'
                )
