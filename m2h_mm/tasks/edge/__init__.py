"""Object boundaries: task, metric with its exact matching, and view."""

from .task import Edge

__all__ = ['Edge']
