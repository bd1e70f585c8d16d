"""Transforms of the data pipeline, which treat image, labels and camera alike.

May import what m2h_mm.datasets may.
"""

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
