"""From depth, classes and cameras to point clouds, meshes and maps.

May import engine and all below it.
"""
