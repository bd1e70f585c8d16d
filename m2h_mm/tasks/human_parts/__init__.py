from .task import HumanParts

__all__ = ['HumanParts']
