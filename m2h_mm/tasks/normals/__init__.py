"""Surface normals: task, metric and view."""

from .task import Normals

__all__ = ['Normals']
