"""Stereo disparity, in pixels: task, metric and view."""

from .task import Disparity

__all__ = ['Disparity']
