"""From depth to points."""

import numpy as np
import pytest
from PIL import Image

from m2h_mm.datasets.photo_camera import camera_of_file
from m2h_mm.geometry.pinhole import camera_of_view
from m2h_mm.mapping.point_cloud import draw_cloud, point_cloud
from m2h_mm.rooms.render import render_frame

CAMERA = (50.0, 60.0, 20.5, 13.0)


def read_ply(path):
    """The vertices, by a reader of its own."""
    header, _, body = path.read_bytes().partition(b'end_header\n')
    lines = header.decode().split('\n')
    assert lines[:2] == ['ply', 'format binary_little_endian 1.0']
    kinds = dict(float='<f4', uchar='u1')
    fields = [
        (line.split()[2], kinds[line.split()[1]]) for line in lines if line.startswith('property')
    ]
    vertices = np.frombuffer(body, fields)
    assert f'element vertex {len(vertices)}' in lines
    return vertices


def test_points_are_where_the_pixels_look():
    depth = np.full((27, 42), 2.0, np.float32)
    depth[:, 30:] = 0  # not measured
    colours = np.random.default_rng(0).integers(0, 256, (27, 42, 3), dtype=np.uint8)
    cloud = point_cloud(depth, CAMERA, colours)
    rows, columns = np.mgrid[:27, :29]  # the last measured column lies beside a step
    expected = np.stack(
        [(columns - 20.5) / 50 * 2, (13 - rows) / 60 * 2, np.full(rows.shape, -2)], axis=2
    )
    np.testing.assert_allclose(cloud.points, expected.reshape(-1, 3), atol=1e-6)
    np.testing.assert_array_equal(cloud.colours, colours[:, :29].reshape(-1, 3))
    np.testing.assert_allclose(cloud.normals[:5], [[0, 0, 1]] * 5, atol=1e-6)


def test_flying_pixels_edges_and_what_is_far_are_left_out():
    depth = np.full((27, 42), 2.0, np.float32)
    depth[:, 21:] = 4.0
    colours = np.zeros((27, 42, 3), np.uint8)
    cloud = point_cloud(depth, CAMERA, colours)
    assert len(cloud.points) == 27 * 40  # one column on each side of the step
    edges = np.zeros((27, 42))
    edges[5] = 0.9
    assert len(point_cloud(depth, CAMERA, colours, edges=edges).points) == 26 * 40
    assert len(point_cloud(depth, CAMERA, colours, edges=edges, max_edge=1).points) == 27 * 40
    assert len(point_cloud(depth, CAMERA, colours, max_depth=3).points) == 27 * 20


def test_the_walls_of_a_room_are_flat():
    frame = render_frame(seed=0, index=3, height=120, width=160)
    camera = [frame.cam2img[row, column] for row, column in ((0, 0), (1, 1), (0, 2), (1, 2))]
    classes = np.repeat(frame.semseg[..., None], 3, axis=2)
    cloud = point_cloud(frame.depth, camera, classes, frame.normals)
    floor = (cloud.colours[:, 0] == 2) & (
        cloud.normals @ np.median(cloud.normals[cloud.colours[:, 0] == 2], axis=0) > 0.999
    )
    points = cloud.points[floor]
    assert len(points) > 500
    centred = points - points.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    off = np.abs(centred @ axes[2])
    assert off.max() < 0.01  # metres
    normal = axes[2] * np.sign(axes[2][1])
    assert (cloud.normals[floor] @ normal).min() > 0.999


def test_a_file_holds_the_cloud(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    cloud = point_cloud(np.full((9, 12), 1.5), (10, 10, 5.5, 4), colours)
    cloud.write_ply(tmp_path / 'new' / 'room.ply')
    vertices = read_ply(tmp_path / 'new' / 'room.ply')
    for names, values in (
        ('xyz', cloud.points),
        (('nx', 'ny', 'nz'), cloud.normals),
        (('red', 'green', 'blue'), cloud.colours),
    ):
        np.testing.assert_array_equal(np.stack([vertices[name] for name in names], axis=1), values)


def test_nothing_and_one_pixel_give_a_cloud(tmp_path):
    empty = point_cloud(np.zeros((5, 6)), CAMERA, np.zeros((5, 6, 3), np.uint8))
    empty.write_ply(tmp_path / 'empty.ply')
    assert len(read_ply(tmp_path / 'empty.ply')) == 0
    assert len(point_cloud(np.ones((1, 1)), CAMERA, np.zeros((1, 1, 3), np.uint8)).points) == 1


def test_a_picture_of_a_cloud_shows_what_is_in_front():
    """A red wall and, before its left half, a green one; seen from the right, more of the red one
    is seen.
    """
    depth = np.full((60, 80), 3.0)
    depth[:, :40] = 2.0
    colours = np.zeros((60, 80, 3), np.uint8)
    colours[:, :40, 1] = colours[:, 40:, 0] = 255
    cloud = point_cloud(depth, (60, 60, 39.5, 29.5), colours)
    pictures = [draw_cloud(cloud, yaw, 0, (120, 160)) for yaw in (-40, 40)]
    red, green = (
        [(picture == colour).all(axis=2).sum() for picture in pictures]
        for colour in ((255, 0, 0), (0, 255, 0))
    )
    assert min(red + green) > 500 and red[0] / green[0] < 0.9 * red[1] / green[1]
    above, below = (draw_cloud(cloud, 0, pitch, (120, 160)) for pitch in (30, -30))
    assert above.shape == (120, 160, 3) and (above != below).any()
    assert (
        draw_cloud(point_cloud(np.zeros((5, 6)), CAMERA, np.zeros((5, 6, 3), np.uint8))) == 255
    ).all()


def test_the_camera_from_the_field_of_view():
    fx, fy, cx, cy = camera_of_view((480, 640), 90)
    assert (fx, fy, cx, cy) == pytest.approx((320, 320, 319.5, 239.5))
    for fov in (0, 180, -5):
        with pytest.raises(ValueError, match='fov'):
            camera_of_view((480, 640), fov)
    with pytest.raises(ValueError, match='positive fx and fy'):
        point_cloud(np.ones((2, 2)), (0, 1, 0, 0), np.zeros((2, 2, 3), np.uint8))


@pytest.mark.parametrize('suffix', ['jpg', 'tif'])
@pytest.mark.parametrize(('turned', 'centre'), [(1, (319.5, 239.5)), (6, (239.5, 319.5))])
def test_the_camera_from_a_photo(tmp_path, turned, centre, suffix):
    exif = Image.Exif()
    exif[0x0112] = turned
    exif.get_ifd(0x8769)[0xA405] = exif[0xA405] = 28  # of TIFF, Pillow writes the latter alone
    path = tmp_path / f'photo.{suffix}'
    Image.new('RGB', (640, 480)).save(path, exif=exif)
    fx, fy, cx, cy = camera_of_file(path)
    # 28 mm on a film of 36x24 mm: 43.27 mm across the diagonal, as are the 800 pixels.
    assert fx == fy == pytest.approx(28 * 800 / 43.2666, rel=1e-4)
    assert (cx, cy) == centre
    Image.new('RGB', (640, 480)).save(path)
    assert camera_of_file(path) is None and camera_of_file(tmp_path / 'lost.jpg') is None


@pytest.mark.parametrize('focal', [1e9, float('nan'), 'text', b'\0', 0])
def test_a_photo_that_notes_no_camera_that_can_be(tmp_path, monkeypatch, focal):
    Image.new('RGB', (64, 48)).save(tmp_path / 'photo.jpg')
    monkeypatch.setattr(Image.Exif, 'get_ifd', lambda exif, tag: {0xA405: focal})
    assert camera_of_file(tmp_path / 'photo.jpg') is None


def test_notes_that_the_decoder_trips_over(tmp_path, monkeypatch):
    def fail(exif, tag):
        raise SyntaxError('not a TIFF file')

    Image.new('RGB', (64, 48)).save(tmp_path / 'photo.jpg')
    monkeypatch.setattr(Image.Exif, 'get_ifd', fail)
    assert camera_of_file(tmp_path / 'photo.jpg') is None
