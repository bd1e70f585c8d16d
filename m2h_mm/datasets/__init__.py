"""Where frames come from: data sets, transforms, samplers, converters.

May import tasks, rooms, geometry, structures, registry and system.
"""

from .cityscapes import MultiTaskCityscapesDataset
from .folder import FolderDataset
from .hypersim import HypersimDataset
from .mixed import MixedDataset
from .multitask_dataset import MultiTaskDataset
from .nyud import NYUDDataset
from .pascal_context import PASCALContextMTDataset
from .rooms import RoomsDataset
from .samplers import BalancedSampler, DrawIndex, SeededInfiniteSampler
from .sequence import SequenceDataset
from .sequence_samplers import ClipSampler, SequenceSampler
from .walks import RoomWalksDataset

__all__ = [
    'BalancedSampler',
    'ClipSampler',
    'DrawIndex',
    'FolderDataset',
    'HypersimDataset',
    'MixedDataset',
    'MultiTaskCityscapesDataset',
    'MultiTaskDataset',
    'NYUDDataset',
    'PASCALContextMTDataset',
    'RoomWalksDataset',
    'RoomsDataset',
    'SeededInfiniteSampler',
    'SequenceDataset',
    'SequenceSampler',
]
