from .drawing import save_picture
from .frames import frame_image, frame_name, input_image, spread
from .multitask_visualizer import MultiTaskVisualizer

__all__ = [
    'MultiTaskVisualizer',
    'frame_image',
    'frame_name',
    'input_image',
    'save_picture',
    'spread',
]
