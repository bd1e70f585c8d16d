"""Rendering of one frame, with all its labels, from a seed and an index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2h_mm.rooms.camera import Camera
from m2h_mm.rooms.lighting import Light, illuminate
from m2h_mm.rooms.primitives import ELLIPSOID, Primitives
from m2h_mm.rooms.raycast import Hits, cast, dot, planes
from m2h_mm.rooms.reflections import add_reflections
from m2h_mm.rooms.room import Room
from m2h_mm.rooms.styles import find_style
from m2h_mm.rooms.textures import TEXTURES, Spot, worn
from m2h_mm.rooms.viewpoint import choose_camera


@dataclass
class RoomFrame:
    """A rendered frame with all labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32, metres along the optical axis.
        normals: (H, W, 3) float32, unit, camera frame: x right, y up, z towards the camera.
        semseg: (H, W) uint8, NYU40 ids 1..40.
        instances: (H, W) int32, 0.. within the room; the walls are one instance, as are the floor
            and the ceiling.
        edge: (H, W) uint8, 1 where the instance differs from that of the right or the lower
            neighbour.
        cam2img: (3, 3) float64 intrinsics in pixels; pixel centres are integers.
    """

    image: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    semseg: np.ndarray
    instances: np.ndarray
    edge: np.ndarray
    cam2img: np.ndarray


def render_frame(
    seed: int, index: int, height: int = 240, width: int = 320, style: str = 'plain'
) -> RoomFrame:
    """Render frame ``index`` of the endless sequence ``seed``.

    Every index is a room of its own, and (style, seed, index) alone decide what it looks like; the
    size only decides how many pixels it has.

    Args:
        seed, index: non-negative integers.
        height, width: of the frame in pixels.
        style: ``'plain'`` or ``'varied'``, see :mod:`m2h_mm.rooms.styles`.

    Raises:
        ValueError: there is no such style.
    """
    kind = find_style(style)
    rng = np.random.default_rng((seed, index))
    room = kind.make_room(rng)
    camera = choose_camera(rng, room, height, width, kind.framing)
    lights = kind.make_lights(rng, room)
    primitives = Primitives(room.group.parts)
    light, hits = see(room, primitives, lights, camera)
    image = kind.photograph(rng, light)
    return RoomFrame(image=image, **label_maps(room, primitives, camera, hits))


def see(
    room: Room, primitives: Primitives, lights: list[Light], camera: Camera
) -> tuple[np.ndarray, Hits]:
    """(3, H, W) float32 linear RGB light that reaches the camera, and what each pixel meets.

    Args:
        room: the room.
        primitives: its parts.
        lights: its lights.
        camera: where it is seen from.
    """
    hits = cast(primitives, camera)
    albedo, glow, gloss = _surfaces(primitives, camera, hits)
    diffuse, highlight = illuminate(room, primitives, camera, hits, lights, gloss)
    light = albedo * (diffuse + glow) + highlight
    sheen = np.array([surface.sheen for surface in primitives.materials], np.float32)
    if sheen.any():
        sheen = sheen[primitives.material][hits.primitive]
        add_reflections(light, room, camera, hits, lights, sheen)
    return light, hits


def label_maps(
    room: Room, primitives: Primitives, camera: Camera, hits: Hits
) -> dict[str, np.ndarray]:
    """All of a :class:`RoomFrame` but its image."""
    instances = primitives.instance[hits.primitive]
    edge = np.zeros(instances.shape, np.uint8)
    edge[:, :-1] |= instances[:, :-1] != instances[:, 1:]
    edge[:-1] |= instances[:-1] != instances[1:]
    normals = np.stack(
        [dot(planes(axis), hits.normal) for axis in camera.axes * [[1], [1], [-1]]], 2
    )
    return dict(
        depth=hits.depth,
        normals=normals,
        semseg=np.array(room.group.classes, dtype=np.uint8)[instances],
        instances=instances,
        edge=edge,
        cam2img=camera.cam2img,
    )


def _surfaces(
    primitives: Primitives, camera: Camera, hits: Hits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(3, H, W) albedo, (H, W) glow and (H, W) gloss of what the camera sees."""
    shape = hits.depth.shape
    primitive, face = hits.primitive.reshape(-1), hits.face.reshape(-1)
    local, half = hits.local.reshape(3, -1), np.take(primitives.half.T, primitive, axis=1)
    axis = face // 2
    cushion = np.flatnonzero(primitives.kind[primitive] == ELLIPSOID)
    axis[cushion] = half[:, cushion].argmin(0)
    # u is x, but y on faces that look along x; v is z, but y on faces that look along z.
    u, extent_u = (np.where(axis == 0, array[1], array[0]) for array in (local, half))
    v, extent_v = (np.where(axis == 2, array[1], array[2]) for array in (local, half))
    curved = np.flatnonzero((face == 6) & (axis == 3))
    u[curved] = np.arctan2(local[1, curved], local[0, curved]) * half[0, curved]
    extent_u[curved] = np.pi * half[0, curved]
    v[curved], extent_v[curved] = local[2, curved], half[2, curved]

    rays = camera.rays()
    slant = np.abs(dot(rays, hits.normal)) / np.sqrt(dot(rays, rays))
    footprint = (
        hits.depth / np.float32(camera.cam2img[0, 0]) / np.sqrt(np.maximum(slant, 0.05))
    ).reshape(-1)
    rays = rays.reshape(3, -1)

    material = primitives.material[primitive]
    order = np.argsort(material, kind='stable')
    albedo = np.empty((3, len(order)), np.float32)
    for pixels in np.split(order, np.flatnonzero(np.diff(material[order])) + 1):
        surface = primitives.materials[material[pixels[0]]]
        # Each primitive shows another cut of the same material.
        shift = (primitive[pixels] % 13 * np.float32(0.37)) if surface.pattern == 'wood' else 0
        at_u, at_v, at_extent_u, at_extent_v = (
            u[pixels],
            v[pixels],
            extent_u[pixels],
            extent_v[pixels],
        )
        spot = Spot(
            at_u + shift,
            at_v + shift,
            at_u / at_extent_u,
            at_v / at_extent_v,
            at_extent_u,
            at_extent_v,
            footprint[pixels],
            rays[:, pixels],
        )
        color = TEXTURES[surface.pattern](spot, surface)
        albedo[:, pixels] = worn(color, spot, surface) if surface.wear else color
    glow = np.array([surface.glow for surface in primitives.materials], np.float32)[material]
    gloss = np.array([surface.gloss for surface in primitives.materials], np.float32)[material]
    return albedo.reshape(3, *shape), glow.reshape(shape), gloss.reshape(shape)
