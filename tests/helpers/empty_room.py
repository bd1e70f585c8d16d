"""A room of grey walls with nothing in it."""

import numpy as np

from m2h_mm.rooms.materials import Material
from m2h_mm.rooms.primitives import SHELL, Group, Part

GREY = Material('plain', np.full((1, 3), 0.5, np.float32))


def empty_room(size=(4.0, 4.0, 3.0)) -> Group:
    """Six faces, in the order that ``cast`` expects."""
    group = Group(classes=[1, 2, 22])
    size = np.array(size)
    for face in range(6):
        half, center = size / 2, np.array([0, 0, size[2] / 2])
        half[face // 2] = 1e-3
        center[face // 2] += (face % 2 - 0.5) * size[face // 2]
        group.parts.append(Part(SHELL, center, half, np.eye(3), GREY, max(face - 3, 0)))
    return group
