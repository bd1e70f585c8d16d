"""Procedural furnished rooms, ray cast in NumPy: no download needed to train, test or show
anything.
"""

from .cache import ensure_rooms, rooms_folder
from .render import RoomFrame, render_frame

__all__ = ['RoomFrame', 'ensure_rooms', 'render_frame', 'rooms_folder']
