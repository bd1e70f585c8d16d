"""Scene graphs as files of Spark-DSG, the library of Hydra."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from m2h_mm.mapping.scene_graph import SceneGraph
from m2h_mm.system import write_atomically
from m2h_mm.tasks.semseg.colours import class_colours

VERSION = (1, 1, 3)
"""Of Spark-DSG, whose JSON this is."""
OBJECTS, PLACES, ROOMS, BUILDINGS = 2, 3, 4, 5
"""Numbers of its layers."""
_NAMES = dict(AGENTS=2, OBJECTS=2, PLACES=3, ROOMS=4, BUILDINGS=5)
_NO_LABEL = 2**32 - 1


def node_id(letter: str, number: int) -> int:
    """The id of node ``letter(number)``: the letter in the highest byte."""
    return ord(letter) << 56 | number


def write_dsg(graph: SceneGraph, path: str | Path) -> None:
    """Write a graph so that ``spark_dsg.DynamicSceneGraph.load`` reads it: a building B(0) of rooms
    R(i) of places p(i) with objects O(i), of which each is the child of the nearest place in its
    room, or, where a room has no place, of the room.

    Boxes of objects are upright (RAABB), labels are numbers of classes, whose names are in the
    metadata, as Hydra has them. The mesh is a file of its own.
    """
    write_atomically(path, json.dumps(to_dsg(graph)))


def to_dsg(graph: SceneGraph) -> dict:
    """The content of the file, see :func:`write_dsg`."""
    rooms, places = graph.plan.rooms, graph.plan.places
    middle = np.mean([room.centre for room in rooms], axis=0) if rooms else np.zeros(3)
    nodes = [_node('B', 0, BUILDINGS, 'SemanticNodeAttributes', middle, 'building', {}, (0, 0, 0))]
    edges = []
    colours = class_colours()
    for room in rooms:
        low, high = room.bounds
        more = dict(
            bounding_box=_box('AABB', (low + high) / 2, high - low, 0.0),
            semantic_class_probabilities={},
        )
        name = f'room {room.number}'
        nodes.append(
            _node('R', room.number, ROOMS, 'RoomNodeAttributes', room.centre, name, more, (0, 0, 0))
        )
        edges.append(_edge(('B', 0), ('R', room.number)))
    for place in places:
        nodes.append(_place(place))
        edges.append(_edge(('R', place.room), ('p', place.number)))
        edges += [
            _edge(('p', place.number), ('p', other))
            for other in place.neighbours
            if other < place.number
        ]
    for thing, room, place in zip(
        graph.objects, graph.room_of_object, graph.place_of_object, strict=True
    ):
        more = dict(
            bounding_box=_box('RAABB', thing.centre, thing.size, thing.yaw),
            semantic_label=thing.class_number,
            registered=False,
            mesh_connections=[],
            world_R_object=_turn(thing.yaw),
        )
        colour = colours[thing.class_number]
        kind = 'ObjectNodeAttributes'
        nodes.append(
            _node('O', thing.number, OBJECTS, kind, thing.centroid, thing.name, more, colour)
        )
        if place >= 0:
            edges.append(_edge(('p', place), ('O', thing.number)))
        elif room >= 0:
            edges.append(_edge(('R', room), ('O', thing.number)))
    space = [[number, str(name)] for number, name in enumerate(graph.names)]
    return dict(
        SPARK_DSG_header=dict(
            project_name='main',
            version=dict(zip(('major', 'minor', 'patch'), VERSION, strict=True)),
        ),
        directed=False,
        multigraph=False,
        layer_keys=[_layer(layer) for layer in (OBJECTS, PLACES, ROOMS, BUILDINGS)],
        layer_names={name: _layer(layer) for name, layer in _NAMES.items()},
        metadata=dict(labelspaces={f'_l{OBJECTS}p0': space}, m2h_mm=_facts(graph)),
        nodes=nodes,
        edges=edges,
    )


def _facts(graph: SceneGraph) -> dict:
    plain = graph.to_plain()
    return {key: value for key, value in plain.items() if key in ('format', 'planes', *graph.facts)}


def _layer(layer: int) -> dict:
    return dict(layer=layer, partition=0)


def _node(letter, number, layer, kind, position, name, more, colour) -> dict:
    attributes = dict(
        type=kind,
        position=_numbers(position),
        name=name,
        color=dict(zip('rgba', (*map(int, colour), 255), strict=True)),
        semantic_label=_NO_LABEL,
        semantic_feature=dict(rows=0, cols=0, data=None),
        bounding_box=_box('INVALID', np.zeros(3), np.zeros(3), 0.0),
        is_active=False,
        is_predicted=False,
        last_update_time_ns=0,
        metadata={},
    )
    return dict(id=node_id(letter, number), **_layer(layer), attributes={**attributes, **more})


def _place(place) -> dict:
    more = dict(
        distance=place.clearance,
        num_basis_points=0,
        real_place=True,
        need_cleanup=False,
        active_frontier=False,
        anti_frontier=False,
        num_frontier_voxels=0,
        frontier_scale=[0.0, 0.0, 0.0],
        orientation=_turn(0.0),
        voxblox_mesh_connections=[],
        pcl_mesh_connections=[],
        mesh_vertex_labels=[],
        deformation_connections=[],
    )
    kind = 'PlaceNodeAttributes'
    return _node('p', place.number, PLACES, kind, place.position, '', more, (0, 0, 0))


def _edge(parent: tuple[str, int], child: tuple[str, int]) -> dict:
    info = dict(type='EdgeAttributes', weighted=False, weight=1.0, metadata={})
    return dict(source=node_id(*parent), target=node_id(*child), info=info)


def _box(kind: str, centre: np.ndarray, size: np.ndarray, yaw: float) -> dict:
    return dict(
        type=kind,
        dimensions=_numbers(size),
        world_P_center=_numbers(centre),
        world_R_center=_turn(yaw),
    )


def _turn(yaw: float) -> dict:
    return dict(w=float(np.cos(yaw / 2)), x=0.0, y=0.0, z=float(np.sin(yaw / 2)))


def _numbers(values: np.ndarray) -> list[float]:
    return [float(value) for value in values]
