from .base import Task, build_tasks
from .depth import Depth
from .edge import Edge
from .normals import Normals
from .semseg import Semseg

__all__ = ['Depth', 'Edge', 'Normals', 'Semseg', 'Task', 'build_tasks']
