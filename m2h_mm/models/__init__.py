from . import backbones, decoders, heads, interactions, losses, mergers, necks, weighting
from .data_preprocessor import MultiTaskDataPreprocessor
from .multitask_model import MultiTaskModel

__all__ = ['MultiTaskDataPreprocessor', 'MultiTaskModel', 'backbones', 'decoders', 'heads', 'interactions', 'losses',
           'mergers', 'necks', 'weighting']
