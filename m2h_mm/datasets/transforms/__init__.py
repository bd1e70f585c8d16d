from .colour import PhotometricDistortion
from .framing import Pad, RandomCrop
from .loading import LoadMultiTaskImage, LoadMultiTaskLabels
from .packing import PackMultiTaskInputs
from .scaling import RandomFlip, RandomZoom, Resize

__all__ = [
    'LoadMultiTaskImage',
    'LoadMultiTaskLabels',
    'PackMultiTaskInputs',
    'Pad',
    'PhotometricDistortion',
    'RandomCrop',
    'RandomFlip',
    'RandomZoom',
    'Resize',
]
