"""Heads that several methods use."""

from .linear import LinearHead

__all__ = ['LinearHead']
