"""The light on surfaces from lamps, windows and the sun, with what the walls reflect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms.camera import Camera
from m2h_mm.rooms.primitives import Primitives
from m2h_mm.rooms.raycast import Hits, dot, occluded, planes
from m2h_mm.rooms.room import Room, Window

_BLOCK = 4
_LIFT = 0.004
"""Shadow rays start this far above the surface, metres."""
_REACH = 0.5
"""How near something must be to take ambient light away, metres."""


@dataclass
class Light:
    """A source of light.

    Attributes:
        kind: ``'lamp'`` (all around), ``'window'`` (the sky, through a pane) or ``'sun'`` (its beam
            through a pane).
        color: (3,) linear RGB strength.
        position: (3,) of the lamp or of the pane's centre.
        size: (2, 3) half extents over which the source is spread, metres (sun: unused).
        direction: (3,) lamp: unused; window: inward normal; sun: towards the sun.
        window: the pane, for the sun.
    """

    kind: str
    color: np.ndarray
    position: np.ndarray
    size: np.ndarray
    direction: np.ndarray
    window: Window | None = None


def make_lights(rng: np.random.Generator, room: Room) -> list[Light]:
    """The lights of a room: at most three lamps, each window's sky, and the sun where it reaches
    in.
    """
    lights, none = [], np.zeros(3)
    warm = np.array([1.0, rng.uniform(0.75, 0.92), rng.uniform(0.5, 0.8)])
    for lamp in room.group.lamps[::-1][:3]:
        high = lamp[2] > 1.7
        size = np.array([[0.12, 0, 0], [0, 0.12, 0]])
        lights.append(
            Light('lamp', warm * rng.uniform(0.8, 1.3) * (2.0 if high else 0.5), lamp, size, none)
        )
    sky = np.array([rng.uniform(0.8, 1.0), rng.uniform(0.9, 1.0), 1.0])
    bearing, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 1.0)
    to_sun = np.array(
        [np.cos(bearing) * np.cos(height), np.sin(bearing) * np.cos(height), np.sin(height)]
    )
    shining = room.daylight > 0.5 and rng.random() < 0.65
    for window in room.windows:
        if room.daylight > 0:
            size = np.array([window.along * window.half_width, [0, 0, window.half_height]])
            area = 4 * window.half_width * window.half_height
            color = sky * room.daylight * area * 1.3
            lights.append(Light('window', color, window.center, size, window.inward))
            if shining and -to_sun @ window.inward > 0.15:
                color = np.array([1.0, 0.9, 0.72]) * room.daylight * rng.uniform(3, 6)
                lights.append(Light('sun', color, window.center, size, to_sun, window))
    return lights


def _samples(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) sample number 0..15, all of them in each 4x4 block, and (16, 2) stratified points in
    -1..1.
    """
    # Pixels whose row and column have the same parity share a quarter of the square, see ``stride``
    # of occluded().
    order = np.array([[0, 4, 1, 5], [8, 12, 9, 13], [2, 6, 3, 7], [10, 14, 11, 15]])
    number = np.tile(order, (-(-height // _BLOCK), -(-width // _BLOCK)))[:height, :width]
    quarter, part = np.divmod(np.arange(16), 4)
    points = np.stack(
        [quarter % 2 - 0.5 + (part % 2 - 0.5) / 2, quarter // 2 - 0.5 + (part // 2 - 0.5) / 2], 1
    )
    points += np.stack(
        [(quarter // 2 * 2 + part // 2 - 1.5) / 16, (quarter % 2 * 2 + part % 2 - 1.5) / 16], 1
    )
    return number, points.astype(np.float32)


def _smooth(value: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Mean over the 4x4 pixels around each, of those on the same face only, so that all 16 samples
    count.
    """
    total = value.astype(np.float32)
    for axis in (0, 1):
        shifted_sum, count = total.copy(), np.ones_like(total)
        for step in (-2, -1, 1):
            near = [slice(None), slice(None)]
            far = [slice(None), slice(None)]
            near[axis], far[axis] = (
                (slice(-step, None), slice(None, step))
                if step < 0
                else (slice(None, -step), slice(step, None))
            )
            same = key[tuple(near)] == key[tuple(far)]
            shifted_sum[tuple(near)] += same * total[tuple(far)]
            count[tuple(near)] += same
        total = shifted_sum / count
    return total


def illuminate(
    room: Room,
    primitives: Primitives,
    camera: Camera,
    hits: Hits,
    lights: list[Light],
    gloss: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Diffuse light and highlights.

    The sources are not points: neighbouring pixels look at different places of them (interleaved
    sampling, 16 places), and averaging over a face's neighbours yields soft shadows for one ray per
    pixel.

    Args:
        gloss: (H, W) of the material met.
    Returns: two (3, H, W) float32 arrays; albedo times the first, plus the second, leaves towards
    the camera.
    """
    height, width = hits.depth.shape
    number, points = _samples(height, width)
    key = hits.key
    start = hits.point + hits.normal * np.float32(_LIFT)
    casters = np.flatnonzero(primitives.casts)
    casters = casters[casters >= 6]
    view = planes(camera.position) - hits.point
    view /= np.sqrt(dot(view, view))

    diffuse, highlight = np.zeros((2, 3, height, width), np.float32)
    for light in lights:
        if light.kind == 'sun':
            end, strength, direction = _sun(light, start, hits.normal)
        else:
            end = np.take(
                (points @ light.size + light.position).astype(np.float32).T, number, axis=1
            )
            strength, direction = _nearby(light, hits)
        lit = strength > 0.002
        if not lit.any():
            continue
        shadow = occluded(
            primitives, start, end, lit, casters, stride=2 if light.kind == 'window' else 1
        )
        strength = strength * (1 - _smooth(shadow, key))
        color = planes(light.color)
        diffuse += strength * color
        if light.kind != 'window':
            half = direction + view
            half /= np.sqrt(dot(half, half))
            shine = np.clip(dot(half, hits.normal), 0, 1)
            for _ in range(5):
                shine *= shine
            highlight += strength * gloss * shine * color
    diffuse += _ambient(room, primitives, hits, start, number, key, casters, lights)
    return diffuse, highlight


def _nearby(light: Light, hits: Hits) -> tuple[np.ndarray, np.ndarray]:
    to_light = planes(light.position) - hits.point
    square = dot(to_light, to_light)
    direction = to_light / np.sqrt(square)
    strength = np.clip(dot(direction, hits.normal), 0, None) / (square + np.float32(0.25))
    if light.kind == 'window':
        strength *= np.clip(-dot(direction, planes(light.direction)), 0, None)
    return strength, direction


def _sun(
    light: Light, start: np.ndarray, normal: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    direction, window = planes(light.direction), light.window
    offset = start - planes(window.center)
    distance = dot(offset, planes(window.inward)) / np.float32(-light.direction @ window.inward)
    offset += distance * direction
    inside = (
        (np.abs(dot(offset, planes(window.along))) < window.half_width)
        & (np.abs(offset[2]) < window.half_height)
        & (distance > 0)
    )
    strength = np.clip(dot(normal, direction), 0, None) * inside
    return offset + planes(window.center), strength, np.broadcast_to(direction, start.shape)


def bounced(lights: list[Light]) -> np.ndarray:
    """(3,) linear RGB: what walls, floor and ceiling throw back of all lights."""
    tint = np.full(3, 0.015)
    for light in lights:
        tint += light.color * {'lamp': 0.07, 'window': 0.06, 'sun': 0.02}[light.kind]
    return tint


def _ambient(room, primitives, hits, start, number, key, casters, lights) -> np.ndarray:
    """Bounced light, from all sides, less what near things take away (ambient occlusion)."""
    index = np.arange(16) + 0.5
    polar, turn = np.arccos(1 - index / 8), np.pi * (1 + 5**0.5) * index
    sphere = np.stack(
        [np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], 1
    ).astype(np.float32)
    # A normal plus a uniform point of the unit sphere is cosine distributed around the normal.
    direction = hits.normal + np.take(np.float32(0.98) * sphere.T, number, axis=1)
    direction *= np.float32(_REACH) / np.sqrt(dot(direction, direction))
    end = start + direction
    limit = room.size / 2
    outside = (
        (np.abs(end[0]) > limit[0])
        | (np.abs(end[1]) > limit[1])
        | (end[2] < 0)
        | (end[2] > room.size[2])
    )
    dark = occluded(primitives, start, end, ~outside, casters) | outside
    open_ = 1 - 0.75 * _smooth(dark, key)
    tint = bounced(lights)
    floor = primitives.materials[primitives.material[4]].colors[0]
    bounce = planes((0.4 + 0.8 * floor / floor.mean()) * 0.8)
    lift = 0.5 + 0.5 * hits.normal[2]
    return open_ * ((1 - lift) * bounce + lift) * planes(tint)
