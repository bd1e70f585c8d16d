"""From a mesh to planes, things, places and rooms, and the files of the graph."""

import json

import numpy as np
import pytest
from mapped_room import CLASSES, SIZE, THINGS, furnished_room, look_around, map_room

from m2h_mm.mapping.dsg_file import write_dsg
from m2h_mm.mapping.gravity import estimate_up, moved, upright
from m2h_mm.mapping.mesh import Mesh, extract_mesh
from m2h_mm.mapping.objects import find_objects
from m2h_mm.mapping.planes import find_planes
from m2h_mm.mapping.roles import Roles
from m2h_mm.mapping.scene_graph import build_scene_graph

ROLES = Roles(CLASSES)


@pytest.fixture(scope='module')
def mesh() -> Mesh:
    return extract_mesh(map_room(furnished_room(), look_around(24)), min_weight=0.1)


@pytest.fixture(scope='module')
def graph(mesh):
    return build_scene_graph(mesh, ROLES, facts=dict(voxel=0.05))


@pytest.mark.parametrize('roles', [ROLES, Roles()], ids=['classes', 'shapes'])
def test_floor_ceiling_and_walls_are_where_they_are(mesh, roles):
    planes, owner = find_planes(mesh, roles)
    assert [plane.kind for plane in planes[:6]] == ['floor', 'ceiling'] + ['wall'] * 4
    assert len(planes) == 6 or not roles.known  # without classes, a bed's side may be a wall
    expected = {(0, 0, 1): 0, (0, 0, -1): -SIZE[2]}
    for axis in range(2):
        for sign in (-1, 1):
            normal = [0, 0, 0]
            normal[axis] = sign
            expected[tuple(normal)] = -SIZE[axis] / 2
    for plane in planes[:6]:
        offset = expected.pop(tuple(np.rint(plane.normal).astype(int)))
        assert plane.offset == pytest.approx(offset, abs=0.01)
        assert np.abs(plane.corners @ plane.normal - plane.offset).max() < 1e-6
        assert np.abs(plane.normal).max() > 0.9999
    assert planes[1].area == pytest.approx(SIZE[0] * SIZE[1], rel=0.1)
    areas = np.bincount(owner[owner >= 0], mesh.areas[owner >= 0])
    np.testing.assert_allclose(areas, [plane.area for plane in planes])


def test_things_have_their_class_place_and_box(graph):
    assert len(graph.objects) == len(THINGS)
    found = {thing.name: thing for thing in graph.objects}
    for kind, size, at in THINGS:
        thing = found[kind.name.lower()]
        assert thing.class_number == kind - 1 and thing.share > 0.9
        # Surface that lies on the floor or that the room hides is not seen; a voxel is 0.05 m.
        centre = np.add(at, (0, 0, size[2] / 2))
        assert np.abs(thing.bounds.mean(axis=0) - centre).max() < 0.1
        assert np.abs(np.ptp(thing.bounds, axis=0) - size).max() < 0.16
        assert np.abs(thing.centre[:2] - centre[:2]).max() < 0.1
        assert np.abs(thing.size[:2] - sorted(size[:2])[::-1]).max() < 0.16
        assert np.abs(np.sin(2 * thing.yaw)) < 0.3


def test_a_turned_box_is_found_turned():
    """Two boards of one class, 0.3 m apart, turned by 30 degrees, and a speck."""
    grid = np.stack(np.meshgrid(np.arange(41), np.arange(21), indexing='ij'), -1).reshape(-1, 2)
    board = np.c_[grid * 0.02 - (0.4, 0.2), np.zeros(len(grid))]
    first = np.arange(len(grid)).reshape(41, 21)
    corners = (
        [first[:-1, :-1], first[1:, :-1], first[1:, 1:]],
        [
            first[:-1, :-1],
            first[1:, 1:],
            first[:-1, 1:],
        ],
    )
    faces = np.concatenate([np.stack(c, -1).reshape(-1, 3) for c in corners])
    turn = upright([0, 0, 1.0])
    angle = np.radians(30)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    points = np.concatenate([board, board + (0, 0.7, 0.5), board / 20 + (3, 3, 0)]) @ turn[:3, :3].T
    count = len(board)
    mesh = Mesh(
        points.astype(np.float32),
        np.concatenate([faces, faces + count, faces + 2 * count]).astype(np.uint32),
        np.zeros((3 * count, 3), np.uint8),
        np.full(3 * count, 6, np.uint8),
        np.ones(3 * count, np.float32),
    )
    things, owner = find_objects(mesh, ROLES)
    assert [thing.name for thing in things] == ['table'] * 2
    assert np.bincount(owner + 1).tolist() == [count] * 3
    for thing in things:
        np.testing.assert_allclose(thing.size, [0.8, 0.4, 0], atol=0.02)
        assert np.degrees(thing.yaw) == pytest.approx(30, abs=1.5)
        assert thing.area == pytest.approx(0.32, rel=1e-3)
    assert len(find_objects(mesh, ROLES, gap=0.8)[0]) == 1
    assert len(find_objects(mesh, ROLES, min_area=1e-4)[0]) == 3


def test_one_room_with_its_places(graph):
    (room,) = graph.plan.rooms
    assert room.area == pytest.approx(SIZE[0] * SIZE[1], rel=0.1)
    assert np.abs(np.ptp(room.bounds, axis=0) - SIZE).max() < 0.25
    assert np.abs(room.centre - (0, 0, SIZE[2] / 2)).max() < 0.15
    places = graph.plan.places
    assert 8 < len(places) < 60
    for place in places:
        for _, size, at in THINGS:
            beyond = np.abs(place.position[:2] - at[:2]) - np.array(size[:2]) / 2
            assert beyond.max() > 0
        for other in place.neighbours:
            assert place.number in places[other].neighbours
    assert graph.room_of_object == [0] * 3 and min(graph.place_of_object) >= 0


def test_two_rooms_with_an_open_door_are_two(mesh):
    """The room, and its copy behind a wall with a doorway of 0.9 m."""
    shift = np.array([SIZE[0] + 0.1, 0, 0])
    middles = mesh.points[mesh.triangles].mean(axis=1)
    door = (np.abs(middles[:, 1]) < 0.45) & (middles[:, 2] > 0.03) & (middles[:, 2] < 2)
    first = mesh.triangles[~(door & (middles[:, 0] > 1.9))]
    second = mesh.triangles[~(door & (middles[:, 0] < -1.9))]
    both = Mesh(
        np.concatenate([mesh.points, (mesh.points + shift).astype(np.float32)]),
        np.concatenate([first, second + np.uint32(len(mesh.points))]),
        np.concatenate([mesh.colours] * 2),
        np.concatenate([mesh.classes] * 2),
        np.concatenate([mesh.shares] * 2),
    )
    graph = build_scene_graph(both, ROLES)
    assert len(graph.plan.rooms) == 2 and len(graph.objects) == 6
    for thing, room in zip(graph.objects, graph.room_of_object, strict=True):
        assert graph.plan.rooms[room].centre[0] == pytest.approx(
            shift[0] if thing.centroid[0] > 2 else 0, abs=0.3
        )
        assert graph.plan.places[graph.place_of_object[thing.number]].room == room


def test_spark_dsg_reads_the_graph(graph, tmp_path):
    spark_dsg = pytest.importorskip('spark_dsg')
    write_dsg(graph, tmp_path / 'dsg.json')
    read = spark_dsg.DynamicSceneGraph.load(str(tmp_path / 'dsg.json'))
    layers = spark_dsg.DsgLayers
    counts = {
        name: read.get_layer(getattr(layers, name)).num_nodes()
        for name in ('OBJECTS', 'PLACES', 'ROOMS', 'BUILDINGS')
    }
    assert counts == dict(OBJECTS=3, PLACES=len(graph.plan.places), ROOMS=1, BUILDINGS=1)
    space = read.get_labelspace(layers.name_to_layer_id(layers.OBJECTS).layer, 0)
    names = dict(space.labels_to_names)
    symbol = spark_dsg.NodeSymbol
    for thing in graph.objects:
        node = read.get_node(symbol('O', thing.number).value)
        attributes = node.attributes
        assert names[attributes.semantic_label] == attributes.name == thing.name
        np.testing.assert_allclose(attributes.position, thing.centroid)
        box = attributes.bounding_box
        assert box.is_valid() and box.type == spark_dsg.BoundingBoxType.RAABB
        assert box.contains(thing.centre)
        np.testing.assert_allclose(box.dimensions, thing.size, rtol=1e-6)
        place = read.get_node(node.get_parent())
        assert place.id.value == symbol('p', graph.place_of_object[thing.number]).value
        room = read.get_node(place.get_parent())
        assert room.id.value == symbol('R', 0).value
        assert read.get_node(room.get_parent()).layer.layer == 5
    assert read.metadata.get()['m2h_mm']['voxel'] == 0.05
    assert all(not node.has_parent() for node in read.get_layer(layers.BUILDINGS).nodes)


def test_the_plain_file_says_the_same(graph, tmp_path):
    graph.write_json(tmp_path / 'graph.json')
    plain = json.loads((tmp_path / 'graph.json').read_text())
    assert plain['format'] == 'm2h_mm scene graph 1' and plain['voxel'] == 0.05
    assert [thing['name'] for thing in plain['objects']] == [t.name for t in graph.objects]
    assert [thing['room'] for thing in plain['objects']] == [0] * 3
    assert len(plain['planes']) == 6 and len(plain['rooms']) == 1


def test_an_empty_map_is_a_graph(tmp_path):
    nothing = Mesh(
        np.zeros((0, 3), np.float32),
        np.zeros((0, 3), np.uint32),
        np.zeros((0, 3), np.uint8),
        np.zeros(0, np.uint8),
        np.zeros(0, np.float32),
    )
    graph = build_scene_graph(nothing, ROLES)
    assert graph.planes == graph.objects == graph.plan.rooms == []
    write_dsg(graph, tmp_path / 'dsg.json')


@pytest.mark.parametrize('up', [(0, 0, 1), (0.3, -0.4, 0.8), (0, -1, 0), (0, 0, -1)])
def test_up_is_found_by_the_floor(mesh, up):
    pose = np.linalg.inv(upright(np.array(up, float)))
    pose[:3, 3] = 1, 2, 3
    tilted = moved(mesh, pose)
    found = estimate_up(tilted, ROLES)
    assert found @ np.array(up) / np.linalg.norm(up) > np.cos(np.radians(0.5))
    level = moved(tilted, upright(found))
    assert [plane.kind for plane in find_planes(level, ROLES)[0][:2]] == ['floor', 'ceiling']
    assert estimate_up(tilted, Roles()) is None
    for wrong in ([0, 0, 0], [np.nan, 0, 1], [1, 0]):
        with pytest.raises(ValueError, match='up: expected a direction'):
            upright(np.array(wrong, float))
