"""Recordings of real cameras in the layouts of public data sets.

A module for each layout lists its frames. May import what m2h_mm.datasets may.
"""

from .layout import Layout, Recording
from .scannet import SCANNET
from .seven_scenes import SEVEN_SCENES
from .tum import TUM

LAYOUTS: dict[str, Layout] = {'7scenes': SEVEN_SCENES, 'tum': TUM, 'scannet': SCANNET}

__all__ = ['LAYOUTS', 'Layout', 'Recording']
