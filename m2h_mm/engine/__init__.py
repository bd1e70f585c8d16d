from .distributed import DistributedModel, build_runner, end_process, leave_processes
from .fsdp import ShardedModel, ShardedRunner, ShardedStrategy
from .hooks import (
    ActivationCheckpointingHook,
    BadSamplesHook,
    BroadcastNormStatisticsHook,
    CheckpointHook,
    CompileHook,
    FeatureCacheHook,
    MultiTaskVisualizationHook,
    NonFiniteGuardHook,
    RandomStateHook,
    SavePredictionsHook,
)
from .optim_wrappers import AutocastOptimWrapper, BFloat16OptimWrapper
from .switches import refuse_replaced_switches

__all__ = [
    'ActivationCheckpointingHook',
    'AutocastOptimWrapper',
    'BFloat16OptimWrapper',
    'BadSamplesHook',
    'BroadcastNormStatisticsHook',
    'CheckpointHook',
    'CompileHook',
    'DistributedModel',
    'FeatureCacheHook',
    'MultiTaskVisualizationHook',
    'NonFiniteGuardHook',
    'RandomStateHook',
    'SavePredictionsHook',
    'ShardedModel',
    'ShardedRunner',
    'ShardedStrategy',
    'build_runner',
    'end_process',
    'leave_processes',
    'refuse_replaced_switches',
]
