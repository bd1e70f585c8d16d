"""What smooth surfaces reflect: bright windows, and the room as a whole."""

from __future__ import annotations

import numpy as np

from m2h_mm.rooms.camera import Camera
from m2h_mm.rooms.lighting import Light, bounced
from m2h_mm.rooms.raycast import Hits, dot
from m2h_mm.rooms.room import Room

_SKY = np.array([[1.9], [2.05], [2.2]], np.float32)
_BLUR = 0.06
"""By how much the image of a window's border widens per metre from the surface."""


def add_reflections(
    light: np.ndarray,
    room: Room,
    camera: Camera,
    hits: Hits,
    lights: list[Light],
    sheen: np.ndarray,
) -> None:
    """Add to ``light`` (3, H, W) what the surfaces mirror (Schlick's form of Fresnel's law).

    Nothing stands in the way of a reflected ray: only windows and an even room are seen in it.

    Args:
        sheen: (H, W), 0 where a surface is matt.
    """
    rows, columns = np.nonzero(sheen)
    point, normal = hits.point[:, rows, columns], hits.normal[:, rows, columns]
    view = camera.position.astype(np.float32)[:, None] - point
    view /= np.sqrt(dot(view, view))
    facing = np.clip(dot(normal, view), 0, 1)
    ray = 2 * facing * normal - view
    share = sheen[rows, columns] * (0.05 + 0.95 * (1 - facing) ** 5)
    seen = 3 * bounced(lights)[:, None].astype(np.float32) * (0.6 + 0.4 * ray[2])
    for window in room.windows:
        center, along, inward = (
            vector.astype(np.float32)[:, None]
            for vector in (window.center, window.along, window.inward)
        )
        towards = np.minimum(dot(ray, inward), -1e-3)
        distance = dot(center - point, inward) / towards
        offset = point + distance * ray - center
        border = 0.02 + _BLUR * np.abs(distance)
        pane = np.clip((window.half_width - np.abs(dot(offset, along))) / border + 0.5, 0, 1)
        pane *= np.clip((window.half_height - np.abs(offset[2])) / border + 0.5, 0, 1)
        seen = seen + room.daylight * _SKY * (pane * (distance > 0))
    light[:, rows, columns] += share * seen
