"""Cameras, normals from depth, plane fits and conventions of normals.

May import nothing of the package.
"""
