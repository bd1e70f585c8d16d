"""From depth and cameras to point clouds and meshes.

May import engine and all below it.
"""
