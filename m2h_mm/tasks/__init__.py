"""What a task is, whatever the network: one folder per task.

May import structures, geometry and registry.
"""

from .base import Task
from .building import build_tasks
from .depth import Depth
from .disparity import Disparity
from .doubt import Doubt
from .edge import Edge
from .human_parts import HumanParts
from .label_format import LabelFormat
from .normals import Normals
from .positive import PositiveTask
from .saliency import Saliency
from .semseg import Semseg

__all__ = [
    'Depth',
    'Disparity',
    'Doubt',
    'Edge',
    'HumanParts',
    'LabelFormat',
    'Normals',
    'PositiveTask',
    'Saliency',
    'Semseg',
    'Task',
    'build_tasks',
]
