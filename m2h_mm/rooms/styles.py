"""The styles that rooms can be rendered in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms import photograph, varied
from m2h_mm.rooms.layout import make_room
from m2h_mm.rooms.lighting import Light, make_lights
from m2h_mm.rooms.room import Room
from m2h_mm.rooms.viewpoint import Framing
from m2h_mm.system.spelling import did_you_mean


@dataclass(frozen=True)
class Style:
    """What decides how a frame looks; each function draws from the frame's generator.

    Attributes:
        make_room: a furnished room.
        framing: how the camera is held.
        make_lights: the lights of a room.
        photograph: (3, H, W) linear light to (H, W, 3) uint8 RGB; of a frame by itself, or, given
            what was metered and a generator of noise, of a frame of a film.
    """

    make_room: Callable[[np.random.Generator], Room]
    framing: Framing
    make_lights: Callable[[np.random.Generator, Room], list[Light]]
    photograph: Callable[..., np.ndarray]


STYLES = dict(
    plain=Style(make_room, Framing(), make_lights, photograph.photograph),
    varied=Style(varied.make_room, varied.FRAMING, varied.make_lights, photograph.snapshot),
)
"""``plain``: tidy rooms in even light. ``varied``: what photos of real rooms have beyond that:
clutter, dark and glossy surfaces, worn textures, coloured light, a hand-held camera that clips,
blurs and compresses.
"""


def find_style(name: str) -> Style:
    """The style of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in STYLES:
        raise ValueError(
            f'style={name!r}: rooms come in {" and ".join(map(repr, STYLES))}.'
            + did_you_mean(name, STYLES)
        )
    return STYLES[name]
