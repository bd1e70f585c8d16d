"""Decoders without a method of their own: the plain baseline, and one for methods that live in the
backbone.
"""

from .decoder import SharedDecoder
from .task_maps import TaskMapsDecoder

__all__ = ['SharedDecoder', 'TaskMapsDecoder']
