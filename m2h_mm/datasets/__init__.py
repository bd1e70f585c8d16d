from .multitask_dataset import MultiTaskDataset
from .nyud import NYUDDataset
from .samplers import DrawIndex, SeededInfiniteSampler

__all__ = ['DrawIndex', 'MultiTaskDataset', 'NYUDDataset', 'SeededInfiniteSampler']
