from .base import Weighting
from .dynamic_weight_average import DynamicWeightAverage
from .fixed import FixedWeighting
from .uncertainty import UncertaintyWeighting

__all__ = ['DynamicWeightAverage', 'FixedWeighting', 'UncertaintyWeighting', 'Weighting']
