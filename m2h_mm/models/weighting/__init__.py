"""Weightings: the balance of the tasks' losses.

May import what m2h_mm.models may.
"""

from .base import Weighting
from .dynamic_weight_average import DynamicWeightAverage
from .fixed import FixedWeighting
from .geometric_mean import GeometricMeanWeighting
from .grad_norm import GradNorm
from .gradients import GradientWeighting
from .pc_grad import PCGrad
from .random_loss_weighting import RandomLossWeighting
from .uncertainty import UncertaintyWeighting

__all__ = [
    'DynamicWeightAverage',
    'FixedWeighting',
    'GeometricMeanWeighting',
    'GradNorm',
    'GradientWeighting',
    'PCGrad',
    'RandomLossWeighting',
    'UncertaintyWeighting',
    'Weighting',
]
