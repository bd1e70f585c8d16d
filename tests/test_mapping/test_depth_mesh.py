"""A surface of the points of one view."""

import numpy as np
import pytest
from glb_file import read_glb

from m2h_mm.mapping.depth_mesh import triangulate, write_glb
from m2h_mm.mapping.point_cloud import point_cloud

CAMERA = (50.0, 60.0, 20.5, 13.0)
COLOURS = np.random.default_rng(0).integers(0, 256, (27, 42, 3), dtype=np.uint8)


def corners(cloud, triangles):
    """``(M, 3, 3)``: triangle, corner, coordinate."""
    return cloud.points[triangles]


def test_a_wall_is_covered_and_faces_the_camera():
    cloud = point_cloud(np.full((27, 42), 2.0), CAMERA, COLOURS)
    triangles = triangulate(cloud, CAMERA, (27, 42))
    assert triangles.shape == (2 * 26 * 41, 3)
    a, b, c = corners(cloud, triangles).transpose(1, 0, 2)
    across = np.cross(b - a, c - a)
    assert (across[:, 2] > 0).all()
    # 41 columns of 2/50 metres, 26 rows of 2/60.
    assert np.linalg.norm(across, axis=1).sum() / 2 == pytest.approx(
        41 * 2 / 50 * 26 * 2 / 60, rel=1e-5
    )


def test_every_triangle_is_as_small_as_its_pixels_and_none_crosses_a_step():
    depth = np.full((27, 42), 2.0)
    depth[:, 21:] = 4.0
    depth[5, 5] = 0  # not known
    cloud = point_cloud(depth, CAMERA, COLOURS)
    triangles = triangulate(cloud, CAMERA, depth.shape)
    points = corners(cloud, triangles)
    assert len(triangles) > 1500
    assert np.ptp(points[..., 2], axis=1).max() < 1e-6
    assert (
        np.ptp(points[..., 0], axis=1).max() < 1.01 * 4 / 50
        and np.ptp(points[..., 1], axis=1).max() < 1.01 * 4 / 60
    )


def test_slopes_and_a_principal_point_outside_the_image_keep_their_pixels():
    """A ramp that recedes: all of it is covered, and colours stay with their pixels."""
    depth = np.broadcast_to(np.linspace(1, 3, 42), (27, 42))
    camera = (30.0, 30.0, -7.25, 40.5)
    cloud = point_cloud(depth, camera, COLOURS)
    assert len(cloud.points) == depth.size
    assert len(triangulate(cloud, camera, depth.shape)) == 2 * 26 * 41


def test_a_file_holds_the_surface(tmp_path):
    cloud = point_cloud(np.full((27, 42), 2.0), CAMERA, COLOURS)
    triangles = triangulate(cloud, CAMERA, (27, 42))
    write_glb(cloud, triangles, tmp_path / 'new' / 'wall.glb')
    points, colours, indices = read_glb(tmp_path / 'new' / 'wall.glb')
    np.testing.assert_array_equal(points, cloud.points)
    np.testing.assert_array_equal(indices.reshape(-1, 3), triangles)
    linear = colours / 65535
    assert (linear[:, 3] == 1).all()
    shown = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)[
        :, :3
    ]
    np.testing.assert_array_equal(np.rint(shown * 255), cloud.colours)


def test_nothing_is_refused_by_name(tmp_path):
    empty = point_cloud(np.zeros((5, 6)), CAMERA, np.zeros((5, 6, 3), np.uint8))
    triangles = triangulate(empty, CAMERA, (5, 6))
    assert triangles.shape == (0, 3)
    with pytest.raises(ValueError, match='one triangle or more'):
        write_glb(empty, triangles, tmp_path / 'empty.glb')
    assert not list(tmp_path.iterdir())
