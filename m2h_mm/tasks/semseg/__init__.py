"""Semantic segmentation: task, format of its files, metric and view."""

from .class_map import class_table
from .label_format import SemsegFormat
from .task import Semseg

__all__ = ['Semseg', 'SemsegFormat', 'class_table']
