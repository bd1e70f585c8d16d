from .hooks import MultiTaskVisualizationHook, SavePredictionsHook
from .optim_wrappers import AutocastOptimWrapper, BFloat16OptimWrapper

__all__ = ['AutocastOptimWrapper', 'BFloat16OptimWrapper', 'MultiTaskVisualizationHook', 'SavePredictionsHook']
