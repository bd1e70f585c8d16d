"""Parts of persons: task, metric and view."""

from .task import HumanParts

__all__ = ['HumanParts']
