"""What may stand in each place of a config: classes of which registry, and which arguments."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from typing import Any

import torch
from mmengine.dist import init_dist
from mmengine.hooks import CheckpointHook
from mmengine.registry import FUNCTIONS, WEIGHT_INITIALIZERS, Registry
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from m2h_mm import registry
from m2h_mm.system.spelling import did_you_mean

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
    ('strategy.model_wrapper', registry.MODEL_WRAPPERS),
    ('strategy', registry.STRATEGIES),
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
# What mmengine takes out of a config before it builds the rest.
EXTRA: tuple[tuple[str, set[str]], ...] = (
    ('*_hooks*', {'priority'}),
    ('optim_wrapper', {'paramwise_cfg', 'constructor'}),
    ('param_scheduler*', {'convert_to_iter_based'}),
    ('*_cfg', {'by_epoch'}),
)
# The class in a place whose dict needs no type.
DEFAULT_TYPES = {
    'optim_wrapper': 'OptimWrapper',
    'model_wrapper_cfg': 'DistributedModel',
    'strategy.model_wrapper': 'ShardedModel',
    'data_preprocessor': 'MultiTaskDataPreprocessor',
}


def _arguments_of(*functions: Any) -> set[str]:
    return set().union(*(_named(inspect.signature(each).parameters.values()) for each in functions))


def _named(parameters: Iterable[inspect.Parameter]) -> set[str]:
    return {
        parameter.name
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


# Of mmengine's DefaultOptimWrapperConstructor, which takes any.
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
# The keys of dicts that have no type.
UNTYPED: tuple[tuple[str, set[str]], ...] = (
    ('custom_imports', {'imports', 'allow_failed_imports'}),
    ('env_cfg', {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
    ('env_cfg.mp_cfg', _arguments_of(set_multi_processing) - {'distributed'}),
    (
        'env_cfg.dist_cfg',
        _arguments_of(init_dist, torch.distributed.init_process_group) - {'launcher'},
    ),
    ('auto_scale_lr', {'enable', 'base_batch_size'}),
    ('randomness', _arguments_of(Runner.set_randomness) - {'self'}),
    (
        '*_dataloader',
        _arguments_of(DataLoader) | {'num_batch_per_epoch', 'disable_subprocess_warning'},
    ),
    (
        'optim_wrapper.clip_grad',
        (_arguments_of(clip_grad_norm_, clip_grad_value_) | {'type'}) - {'parameters'},
    ),
    ('optim_wrapper.paramwise_cfg', PARAMWISE),
    ('*_evaluator.datasets.*', {'tasks', 'metrics', 'reference'}),
)


def runner_keys() -> set[str]:
    """The keys at the top of a config that are read; all others are variables of its file."""
    return (set(inspect.signature(Runner).parameters) | TOP_LEVEL) - {'cfg'}


def kind_of(path: str, part: Mapping) -> Any:
    """The class, or its name, of what stands at ``path``; None of a dict that has none."""
    if 'type' in part and path != 'optim_wrapper.clip_grad':
        return part['type']
    parent, _, name = f'.{path}'.rpartition('.')
    # The class of a task, and of its metric, is registered under the task's name.
    if parent.endswith(('.tasks', '.metrics')) and not name.isdecimal():
        return name
    if path == 'train_cfg':
        return 'EpochBasedTrainLoop' if part.get('by_epoch', True) else 'IterBasedTrainLoop'
    return DEFAULT_TYPES.get(path)


def untyped_keys(path: str) -> set[str] | None:
    """The keys of a dict without a type; None if it takes any, such as names of parameters."""
    fitting = (
        known
        for pattern, known in UNTYPED
        if fnmatch(path, pattern) and path.count('.') == pattern.count('.')
    )
    return next(fitting, None)


def find_class(kind: Any, path: str) -> Any:
    """The class that is named ``kind``, as one that stands at ``path``; None where it is not known
    what stands there.

    Raises:
        ValueError: ``kind`` is not registered.
    """
    if not isinstance(kind, str):
        if not callable(kind):
            raise ValueError(f'{path}.type: expected the name of a class, got {kind!r}.')
        return kind
    place = next((place for pattern, place in PLACES if fnmatch(path, pattern)), None)
    if place is None:
        return None
    # mmengine would look for a module of that name, too.
    if '.' in kind or kind in registered(place):
        try:
            cls = place.get(kind)
        except (ImportError, TypeError, ValueError, AttributeError) as error:  # a name of no module
            raise ValueError(f'{path}.type: {kind!r} cannot be imported ({error}).') from error
        if callable(cls):
            return cls
    raise ValueError(
        f'{path}.type: {kind!r} is not registered.{did_you_mean(kind, registered(place))} A class '
        'of your own is registered in a file named by custom_imports.'
    )


def registered(place: Registry) -> set[str]:
    """Names of all classes that may stand where those of ``place`` do."""
    names: set[str] = set()
    level: Registry | None = place
    while level is not None:
        level.import_from_location()
        names |= set(level.module_dict)
        level = level.parent
    return names


def arguments(kind: Any, path: str) -> tuple[set[str], bool]:
    """Arguments that ``kind``, which stands at ``path``, takes; and whether these are all.

    Raises:
        ValueError: ``kind`` is not registered.
    """
    extra = set().union(*(names for pattern, names in EXTRA if fnmatch(path, pattern)))
    cls = find_class(kind, path)
    if cls is None:
        return extra, False
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
    if issubclass(cls, CheckpointHook):  # which hands them to Runner.save_checkpoint
        return names | _arguments_of(Runner.save_checkpoint) - {'self'}, True
    return names, closed
