"""What a map is made of: rooms, the places and things in them, the planes around them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from m2h_mm.mapping.floor_plan import FloorPlan, draw_floor_plan
from m2h_mm.mapping.mesh import Mesh
from m2h_mm.mapping.objects import MapObject, find_objects
from m2h_mm.mapping.planes import Plane, find_planes
from m2h_mm.mapping.roles import Roles
from m2h_mm.system import write_atomically

FORMAT = 'm2h_mm scene graph 1'


@dataclass
class SceneGraph:
    """A building of rooms; z is up.

    Attributes:
        names: of the classes, by number.
        planes, objects: see :class:`Plane` and :class:`MapObject`.
        plan: the ground plan with its rooms and places.
        room_of_object: number of the room of each thing, -1 where there is no room at all.
        place_of_object: number of the nearest place in that room, -1 where it has none.
        facts: of the map, for whoever reads the file.
    """

    names: list[str]
    planes: list[Plane]
    objects: list[MapObject]
    plan: FloorPlan
    room_of_object: list[int]
    place_of_object: list[int]
    facts: dict = field(default_factory=dict)

    def to_plain(self) -> dict:
        """As lists and numbers: metres, radians, numbers of rooms, places and things from 0."""
        return _plain(
            dict(
                format=FORMAT,
                **self.facts,
                classes=self.names,
                rooms=[asdict(room) for room in self.plan.rooms],
                places=[asdict(place) for place in self.plan.places],
                objects=[
                    dict(asdict(thing), room=room, place=place)
                    for thing, room, place in zip(
                        self.objects, self.room_of_object, self.place_of_object, strict=True
                    )
                ],
                planes=[asdict(plane) for plane in self.planes],
            )
        )

    def write_json(self, path: str | Path) -> None:
        """Write it as :meth:`to_plain`, whole or not there."""
        write_atomically(path, json.dumps(self.to_plain(), indent=1) + '\n')


def build_scene_graph(
    mesh: Mesh,
    roles: Roles,
    seen: np.ndarray | None = None,
    min_area: float = 0.04,
    facts: dict | None = None,
) -> SceneGraph:
    """Find planes, things, rooms and places, and what is where.

    Args:
        mesh: the map, z up.
        roles: what its classes are.
        seen: ``(N, 3)`` points that the camera has seen through, metres.
        min_area: surface of a thing, square metres.
        facts: see :class:`SceneGraph`.
    """
    planes, owner = find_planes(mesh, roles)
    objects, _ = find_objects(mesh, roles, min_area=min_area)
    plan = draw_floor_plan(mesh, planes, owner, seen)
    rooms = [plan.room_at(thing.centroid) for thing in objects]
    places = []
    for thing, room in zip(objects, rooms, strict=True):
        inside = [place for place in plan.places if place.room == room]
        away = [np.linalg.norm(place.position[:2] - thing.centroid[:2]) for place in inside]
        places.append(inside[int(np.argmin(away))].number if inside else -1)
    return SceneGraph(roles.names, planes, objects, plan, rooms, places, dict(facts or {}))


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float):
        return round(value, 4)
    return value
