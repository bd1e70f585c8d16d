"""Procedural furnished rooms, ray cast in NumPy, for trainings without any download.

May import geometry and system only.
"""

from .cache import ensure_rooms, rooms_folder
from .render import RoomFrame, render_frame

__all__ = ['RoomFrame', 'ensure_rooms', 'render_frame', 'rooms_folder']
