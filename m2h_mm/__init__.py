"""m2h_mm: multi-task dense prediction (semseg, depth, normals, edges) on OpenMMLab."""

__version__ = '0.2.0'
