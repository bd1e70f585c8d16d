"""Cameras, normals from depth, plane fits, conventions of normals, warps between views.

May import nothing of the package.
"""
