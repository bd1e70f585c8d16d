"""Saliency: task, metric and view."""

from .task import Saliency

__all__ = ['Saliency']
