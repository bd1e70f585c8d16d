"""The plain multi-task baseline: one map for all tasks, one head each."""

from .decoder import SharedDecoder

__all__ = ['SharedDecoder']
