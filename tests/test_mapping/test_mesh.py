"""From voxels to triangles."""

import builtins

import numpy as np
import pytest
from glb_file import read_glb
from mapped_room import SIZE, THINGS, furnished_room, look_around, map_room

from m2h_mm.mapping import mesh as meshes
from m2h_mm.mapping.fusion_kernels import SIDE
from m2h_mm.mapping.mesh import extract_mesh
from m2h_mm.mapping.volume import Volume
from m2h_mm.rooms.classes import Nyu40


class Ball(Volume):
    """Two balls of 9 and 5 voxels in blocks on either side of several boxes' borders."""

    def __init__(self):
        super().__init__(voxel=0.05)
        grid = np.arange(-2, 4)
        self._places = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(-1, 3).astype(np.int32)
        self.count = len(self._places)

    def dense(self, low, shape):
        axes = [np.arange(SIDE * n) + SIDE * first for n, first in zip(shape, low, strict=True)]
        at = np.stack(np.meshgrid(*axes, indexing='ij'), axis=-1)
        first, second = (
            np.linalg.norm(at - middle, axis=-1) - radius
            for middle, radius in (((3.3, 1.2, 0.4), 9), ((20, 9, 10), 5))
        )
        distance = np.minimum(first, second).astype(np.float32) / 3
        return distance.clip(-1, 1), np.ones(distance.shape, np.float32)

    def look_up(self, voxels):
        count = len(voxels)
        return dict(
            colour=np.zeros((count, 3), np.uint8),
            classes=np.zeros((count, 3), np.uint8),
            shares=np.ones((count, 3), np.float32),
        )


def edges_of(mesh):
    corners = mesh.triangles.astype(int)
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    return edges


@pytest.mark.parametrize('chunk', [1, 8])
def test_there_are_no_seams(monkeypatch, chunk):
    """Closed surfaces stay closed: each edge goes once in either direction, and the volume within
    is that of the balls.
    """
    monkeypatch.setattr(meshes, 'CHUNK', chunk)
    mesh = extract_mesh(Ball())
    edges = edges_of(mesh)
    forth, back = (np.unique(side, axis=0) for side in (edges, edges[:, ::-1]))
    assert len(forth) == len(edges)
    np.testing.assert_array_equal(forth, back)
    assert len(mesh.points) - len(edges) // 2 + len(mesh.triangles) == 4  # Euler: two spheres
    a, b, c = mesh.points[mesh.triangles].astype(float).transpose(1, 0, 2)
    inside = (a * np.cross(b, c)).sum() / 6
    assert inside == pytest.approx(4 / 3 * np.pi * (9**3 + 5**3) * 0.05**3, rel=0.02)


def test_the_mesh_of_a_room_lies_on_its_surfaces():
    mesh = extract_mesh(map_room(furnished_room(), look_around(24)))
    half = np.array([SIZE[0] / 2, SIZE[1] / 2])
    points = mesh.points.astype(float)
    walls = np.abs(np.abs(points[:, :2]) - half).min(axis=1)
    off = np.minimum.reduce([walls, np.abs(points[:, 2]), np.abs(points[:, 2] - SIZE[2])])
    for _, size, at in THINGS:
        beyond = np.abs(points - np.add(at, (0, 0, size[2] / 2))) - np.array(size) / 2
        outside = np.linalg.norm(beyond.clip(0), axis=1)
        off = np.minimum(off, np.where(outside > 0, outside, -beyond.max(axis=1)))
    assert np.median(off) < 0.002 and np.percentile(off, 95) < 0.025
    # Normals look into the room.
    middle = np.array([0, 0, SIZE[2] / 2])
    shell = (off < 0.01) & (np.abs(points[:, 2]) < 0.01)
    assert (mesh.point_normals[shell, 2] > 0.8).mean() > 0.95
    assert ((middle - points) * mesh.point_normals).sum(axis=1)[walls < 0.01].min() > 0
    floor = (points[:, 2] < 0.01) & (mesh.classes == Nyu40.FLOOR - 1)
    assert floor.sum() > 1000
    assert (mesh.colours[floor] == 6 * (Nyu40.FLOOR - 1) + 5).mean() > 0.97
    on_bed = (np.abs(points[:, :2] + 1.2) < (0.6, 0.35)).all(axis=1)
    top = on_bed & (np.abs(points[:, 2] - 0.5) < 0.01)
    assert (mesh.classes[top] == Nyu40.BED - 1).mean() > 0.95
    assert mesh.areas.sum() > 0.8 * 2 * (SIZE[0] * SIZE[1] + SIZE[2] * (SIZE[0] + SIZE[1]))


def test_nothing_gives_an_empty_mesh(tmp_path):
    mesh = extract_mesh(Volume())
    assert mesh.points.shape == mesh.triangles.shape == (0, 3)
    mesh.write_ply(tmp_path / 'empty.ply')
    assert b'element face 0\n' in (tmp_path / 'empty.ply').read_bytes()


def test_files_hold_the_mesh(tmp_path):
    mesh = extract_mesh(map_room(furnished_room(), look_around(3)))
    mesh.write_ply(tmp_path / 'room.ply')
    header, _, body = (tmp_path / 'room.ply').read_bytes().partition(b'end_header\n')
    kinds = dict(float='<f4', uchar='u1')
    fields = [
        (line.split()[2], kinds[line.split()[1]])
        for line in header.decode().split('\n')
        if line.startswith('property') and 'list' not in line
    ]
    count = len(mesh.points)
    vertices = np.frombuffer(body, fields, count)
    np.testing.assert_array_equal(vertices['label'], mesh.classes)
    np.testing.assert_array_equal(np.stack([vertices[k] for k in 'xyz'], 1), mesh.points)
    faces = np.frombuffer(body[vertices.nbytes :], [('count', 'u1'), ('at', '<i4', 3)])
    np.testing.assert_array_equal(faces['at'], mesh.triangles)
    assert (faces['count'] == 3).all()
    mesh.write_glb(tmp_path / 'room.glb')
    points, _, indices = read_glb(tmp_path / 'room.glb')
    np.testing.assert_array_equal(points, mesh.points[:, [0, 2, 1]] * np.float32([1, 1, -1]))
    np.testing.assert_array_equal(indices.reshape(-1, 3), mesh.triangles)


def test_without_scikit_image_it_is_said_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith('skimage'):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, '__import__', refuse)
    with pytest.raises(ImportError, match=r'pip install scikit-image'):
        extract_mesh(Volume())
