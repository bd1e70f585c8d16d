from . import functional, metrics
from .constant_predictor import evaluate_constant_predictor
from .evaluator import MultiTaskEvaluator
from .mixed import MixedEvaluator

__all__ = ['MixedEvaluator', 'MultiTaskEvaluator', 'evaluate_constant_predictor', 'functional', 'metrics']
