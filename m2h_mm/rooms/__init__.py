"""Procedural furnished rooms, ray cast in NumPy, for trainings without any download.

May import geometry and system only.
"""

from .cache import ensure_rooms, rooms_folder
from .render import RoomFrame, render_frame
from .walk import Walk, WalkFrame, WalkOptions
from .walk_cache import ensure_walks, walks_folder

__all__ = [
    'RoomFrame',
    'Walk',
    'WalkFrame',
    'WalkOptions',
    'ensure_rooms',
    'ensure_walks',
    'render_frame',
    'rooms_folder',
    'walks_folder',
]
