from . import functional, metrics
from .constant_predictor import evaluate_constant_predictor
from .evaluator import MultiTaskEvaluator

__all__ = ['MultiTaskEvaluator', 'evaluate_constant_predictor', 'functional', 'metrics']
