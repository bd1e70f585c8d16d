"""Networks: the model, and the parts that any method may use.

May import tasks, structures and geometry.
"""

from . import adapters, backbones, heads, interactions, losses, mergers, necks, weighting
from .data_preprocessor import MultiTaskDataPreprocessor
from .multitask_model import MultiTaskModel
from .network_output import NetworkOutput

__all__ = [
    'MultiTaskDataPreprocessor',
    'MultiTaskModel',
    'NetworkOutput',
    'adapters',
    'backbones',
    'heads',
    'interactions',
    'losses',
    'mergers',
    'necks',
    'weighting',
]
