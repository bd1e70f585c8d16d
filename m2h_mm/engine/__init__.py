"""Training and testing: the runner, its hooks, checkpoints, several processes, configs.

May import methods, models, datasets, evaluation, visualization and what is below them. What is
exported here is imported when it is asked for, so that a command's ``--help`` need not wait.
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    'distributed': ('DistributedModel', 'build_runner', 'leave_processes'),
    'fsdp': ('ShardedModel', 'ShardedRunner', 'ShardedStrategy'),
    'hooks': (
        'ActivationCheckpointingHook',
        'BadSamplesHook',
        'BroadcastNormStatisticsHook',
        'CheckpointHook',
        'CompileHook',
        'FeatureCacheHook',
        'MultiTaskVisualizationHook',
        'NonFiniteGuardHook',
        'RandomStateHook',
        'SavePredictionsHook',
    ),
    'mmengine_patches': ('install', 'installed'),
    'optim_wrappers': ('AutocastOptimWrapper', 'BFloat16OptimWrapper'),
    'switches': ('refuse_replaced_switches',),
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
