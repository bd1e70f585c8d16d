"""Layout of pictures: what a task looks like is said by its view, see :mod:`m2h_mm.tasks.view`.

May import tasks, geometry, structures, registry and system.
"""

from .drawing import save_picture
from .frames import frame_image, frame_name, input_image, spread
from .local_files import LocalVisBackend
from .multitask_visualizer import MultiTaskVisualizer

__all__ = [
    'LocalVisBackend',
    'MultiTaskVisualizer',
    'frame_image',
    'frame_name',
    'input_image',
    'save_picture',
    'spread',
]
