"""Pictures of maps: the mesh seen from above and beside, and the ground plan with its graph."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from m2h_mm.mapping.floor_plan import CELL
from m2h_mm.mapping.mesh import Mesh
from m2h_mm.mapping.scene_graph import SceneGraph
from m2h_mm.tasks.semseg.colours import class_colours
from m2h_mm.visualization.drawing import INK, side_by_side, stack, text_block

_YAW, _PITCH = 25.0, 50.0
_SIZE = 12  # of text, pixels
_FREE, _INSIDE, _PATH, _PLACE = (255, 255, 255), (222, 226, 232), (230, 90, 40), (60, 110, 190)


def draw_map(
    mesh: Mesh, graph: SceneGraph, cameras: np.ndarray | None = None, height: int = 560
) -> np.ndarray:
    """The mesh in its colours, the mesh by classes, and the ground plan, side by side.

    Args:
        mesh: the map, z up.
        graph: of it.
        cameras: ``(N, 3)`` the way of the camera.
        height: of the panels, pixels.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    seen = ('seen by the camera', mesh.colours)
    classes = ('by class', class_colours()[mesh.classes])
    panels = [
        stack([_title(title), Image.fromarray(draw_mesh(mesh, colours, (height, height)))], 4)
        for title, colours in (seen, classes)
        if colours.any() or colours is classes[1]
    ]
    plan = Image.fromarray(draw_plan(graph, cameras, height))
    panels.append(stack([_title('ground plan: things, places, way of the camera'), plan], 4))
    return np.asarray(side_by_side(panels, 12))


def draw_mesh(mesh: Mesh, colours: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mesh from above and beside, without perspective, as if walls and ceilings were open from
    their back.

    Args:
        mesh: z up.
        colours: ``(N, 3)`` uint8 of its points.
        size: (H, W) of the picture.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    picture = np.full((2 * size[0], 2 * size[1], 3), 255, np.uint8)
    yaw, pitch = np.radians((_YAW, _PITCH))
    right = np.array([np.cos(yaw), np.sin(yaw), 0])
    toward = np.array([np.sin(yaw) * np.cos(pitch), -np.cos(yaw) * np.cos(pitch), np.sin(pitch)])
    axes = np.stack([right, np.cross(right, toward), toward], axis=1)
    normals = mesh.crosses / np.maximum(np.linalg.norm(mesh.crosses, axis=1), 1e-12)[:, None]
    shown = np.flatnonzero(normals @ toward > 0.02)
    if len(shown):
        corners = (mesh.points[mesh.triangles[shown]].astype(np.float64)) @ axes
        low, high = (f(corners[..., :2].reshape(-1, 2), axis=0) for f in (np.min, np.max))
        scale = (np.array(picture.shape[1::-1]) - 4).min() / max((high - low).max(), 1e-6)
        middle = np.array(picture.shape[1::-1]) / 2
        pixels = np.rint((corners[..., :2] - (low + high) / 2) * scale + middle).astype(np.int32)
        light = 0.6 + 0.4 * (normals[shown] @ np.array([0.3, -0.3, 0.9])).clip(0, 1)
        shades = colours[mesh.triangles[shown, 0]] * light[:, None]
        # The farthest first; what is nearer covers it.
        for index in np.argsort(corners[..., 2].mean(axis=1)):
            cv2.fillConvexPoly(picture, pixels[index], shades[index].tolist())
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def draw_plan(graph: SceneGraph, cameras: np.ndarray | None, height: int) -> np.ndarray:
    """The ground plan from above, x to the right and y up: rooms grey, free floor white, walls
    black, boxes of things in the colours of their classes and tied to their places.

    Args:
        graph: z up.
        cameras: ``(N, 3)`` the way of the camera.
        height: about that of the picture, pixels.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    plan = graph.plan
    scale = max(height / (max(plan.room_of.shape) * CELL), 20.0)
    cells = np.full((*plan.room_of.shape, 3), 245, np.uint8)
    cells[plan.room_of >= 0] = _INSIDE
    cells[plan.free] = _FREE
    size = np.rint(np.array(plan.room_of.shape) * CELL * scale).astype(int)
    picture = cv2.resize(
        np.ascontiguousarray(cells.transpose(1, 0, 2)), tuple(map(int, size)), interpolation=0
    )

    def at(points: np.ndarray) -> np.ndarray:
        return np.rint((np.asarray(points)[..., :2] - plan.corner) * scale).astype(np.int32)

    for plane in graph.planes:
        if plane.kind == 'wall':
            cv2.line(picture, *map(tuple, at(plane.corners[:2]).tolist()), INK, 4, cv2.LINE_AA)
    colours = class_colours()
    for thing in sorted(graph.objects, key=lambda thing: thing.bounds[1, 2]):
        along = np.array([np.cos(thing.yaw), np.sin(thing.yaw)])
        sides = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * thing.size[:2] / 2
        corners = at(thing.centre[:2] + sides @ np.stack([along, [-along[1], along[0]]]))
        cv2.fillPoly(picture, [corners], colours[thing.class_number].tolist(), cv2.LINE_AA)
        cv2.polylines(picture, [corners], True, INK, 1, cv2.LINE_AA)
    for place in plan.places:
        here = tuple(at(place.position).tolist())
        for other in place.neighbours:
            there = tuple(at(plan.places[other].position).tolist())
            cv2.line(picture, here, there, _PLACE, 1, cv2.LINE_AA)
        cv2.circle(picture, here, 4, _PLACE, -1, cv2.LINE_AA)
    for thing, place in zip(graph.objects, graph.place_of_object, strict=True):
        if place >= 0:
            ends = at(thing.centroid), at(plan.places[place].position)
            cv2.line(picture, *(tuple(end.tolist()) for end in ends), INK, 1, cv2.LINE_AA)
    if cameras is not None and len(cameras):
        cv2.polylines(picture, [at(cameras)], False, _PATH, 2, cv2.LINE_AA)
    return _labelled(np.ascontiguousarray(picture[::-1]), graph, at)


def _labelled(picture: np.ndarray, graph: SceneGraph, at) -> np.ndarray:
    """With the names of things, and the rooms' areas."""
    image = Image.fromarray(picture)
    labels = [(thing.centroid, thing.name) for thing in graph.objects]
    labels += [
        (room.centre, f'room {room.number}: {room.area:.0f} m²') for room in graph.plan.rooms
    ]
    taken: list[tuple[int, int, int, int]] = []
    for position, text in labels:
        block = text_block([text], _SIZE)
        x, y = at(position)
        left = int(np.clip(x - block.width // 2, 0, max(image.width - block.width, 0)))
        top = int(np.clip(image.height - y - block.height // 2, 0, image.height - block.height))
        right = left + block.width
        # A name that would cover another moves down, and is left out where there is no room.
        while any(
            left < other[2]
            and other[0] < right
            and top < other[3]
            and other[1] < top + block.height
            for other in taken
        ):
            top += block.height // 2
        if top + block.height <= image.height:
            image.paste(block, (left, top))
            taken.append((left, top, right, top + block.height))
    return np.asarray(image)


def _title(text: str) -> Image.Image:
    return text_block([text], _SIZE + 2, bold=True)
