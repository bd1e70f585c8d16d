"""Semantic segmentation: task, class ids, metric and view."""

from .class_ids import ClassIds, class_table
from .task import Semseg

__all__ = ['ClassIds', 'Semseg', 'class_table']
