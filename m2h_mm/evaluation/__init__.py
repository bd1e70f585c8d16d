"""From metrics to one table: evaluators, the multi-task gain, files of predictions.

May import tasks, structures and geometry.
"""

from .constant_predictor import evaluate_constant_predictor
from .evaluator import MultiTaskEvaluator
from .mixed import MixedEvaluator

__all__ = ['MixedEvaluator', 'MultiTaskEvaluator', 'evaluate_constant_predictor']
