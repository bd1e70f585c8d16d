"""Hooks of trainings and tests, one file each.

May import what m2h_mm.engine may.
"""

from .activation_checkpointing_hook import ActivationCheckpointingHook
from .bad_samples_hook import BadSamplesHook
from .broadcast_norm_statistics_hook import BroadcastNormStatisticsHook
from .checkpoint_hook import CheckpointHook
from .compile_hook import CompileHook
from .feature_cache_hook import FeatureCacheHook
from .nonfinite_guard_hook import NonFiniteGuardHook
from .optimize_hook import OptimizeHook
from .random_state_hook import RandomStateHook
from .save_predictions_hook import SavePredictionsHook
from .visualization_hook import MultiTaskVisualizationHook

__all__ = [
    'ActivationCheckpointingHook',
    'BadSamplesHook',
    'BroadcastNormStatisticsHook',
    'CheckpointHook',
    'CompileHook',
    'FeatureCacheHook',
    'MultiTaskVisualizationHook',
    'NonFiniteGuardHook',
    'OptimizeHook',
    'RandomStateHook',
    'SavePredictionsHook',
]
