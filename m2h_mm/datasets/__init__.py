from .multitask_dataset import MultiTaskDataset
from .nyud import NYUDDataset
from .rooms_dataset import RoomsDataset
from .samplers import DrawIndex, SeededInfiniteSampler

__all__ = ['DrawIndex', 'MultiTaskDataset', 'NYUDDataset', 'RoomsDataset', 'SeededInfiniteSampler']
