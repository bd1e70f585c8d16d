from .save_predictions_hook import SavePredictionsHook
from .visualization_hook import MultiTaskVisualizationHook

__all__ = ['MultiTaskVisualizationHook', 'SavePredictionsHook']
