"""Depth, in metres along the optical axis: task, metric and view."""

from .task import Depth

__all__ = ['Depth']
