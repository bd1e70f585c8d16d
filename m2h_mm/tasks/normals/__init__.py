from .task import Normals

__all__ = ['Normals']
