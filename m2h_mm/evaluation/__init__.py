from . import functional, metrics
from .constant_predictor import evaluate_constant_predictor

__all__ = ['evaluate_constant_predictor', 'functional', 'metrics']
