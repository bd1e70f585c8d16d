"""Heads that several methods use."""

from .linear import LinearHead
from .none import NoHead

__all__ = ['LinearHead', 'NoHead']
