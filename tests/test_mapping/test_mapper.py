"""From frames to the files of a map, its picture, and what Rerun is shown."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from mapped_room import CLASSES, SIZE, furnished_room, look_around, see
from PIL import Image

from m2h_mm.mapping.floor_plan import draw_floor_plan
from m2h_mm.mapping.gravity import upright
from m2h_mm.mapping.map_picture import draw_plan
from m2h_mm.mapping.mapper import FILES, Mapper
from m2h_mm.mapping.planes import find_planes
from m2h_mm.mapping.rerun_log import RerunLog
from m2h_mm.mapping.roles import Roles
from m2h_mm.tasks.semseg.colours import class_colours


def map_frames(count: int, tilt=None, **settings) -> Mapper:
    mapper = Mapper(CLASSES, voxel=0.06, **settings)
    group = furnished_room()
    for camera in look_around(count):
        frame = see(group, camera)
        if tilt is not None:
            frame['cam2world'] = tilt @ frame['cam2world']
        mapper.fuse(**frame)
    return mapper


@pytest.fixture(scope='module')
def whole():
    return map_frames(12).finish()


def test_the_files_of_a_map(whole, tmp_path):
    assert [path.name for path in whole.write(tmp_path / 'new')] == list(FILES)
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == sorted(FILES)
    plain = json.loads((tmp_path / 'new' / 'graph.json').read_text())
    assert (plain['frames'], plain['voxel'], plain['complete']) == (12, 0.06, True)
    assert plain['up'] == 'z of the poses' and plain['level_from_world'] == np.eye(4).tolist()
    picture = np.asarray(Image.open(tmp_path / 'new' / 'map.png'))
    assert picture.shape[0] > 500 and picture.shape[1] > 1500
    # The floor by class, in the middle panel.
    floor = class_colours()[1].astype(float)
    middle = picture[:, 570:1150].reshape(-1, 3).astype(float)
    ratio = middle @ floor / np.maximum(np.linalg.norm(middle, axis=1), 1) / np.linalg.norm(floor)
    assert (ratio > 0.9999).mean() > 0.05


def test_a_tilted_world_is_made_level():
    tilt = np.linalg.inv(upright(np.array([0.2, -1.0, 0.1])))
    tilted = map_frames(12, tilt).finish()
    assert tilted.graph.facts['up'] == 'the normal of the floor'
    (room,) = tilted.graph.plan.rooms
    assert np.sort(np.ptp(room.bounds, axis=0))[0] == pytest.approx(SIZE[2], abs=0.15)
    assert len(tilted.graph.objects) == 3
    assert np.ptp(tilted.cameras[:, 2]) < 0.02 < np.ptp(tilted.cameras[:, 0])
    given = map_frames(2, tilt).finish(up=tilt[:3, 2])
    np.testing.assert_allclose(given.level[:3, :3] @ tilt[:3, 2], [0, 0, 1], atol=1e-9)
    assert given.graph.facts['up'] == 'as given'


def test_what_was_seen_through_is_inside(whole):
    """A view of one corner: the way from the camera to it belongs to the room."""
    part = map_frames(1).finish()
    plan = part.graph.plan
    cells = np.argwhere(plan.room_of == 0) * 0.1 + plan.corner + 0.05
    away = np.linalg.norm(cells - part.cameras[0, :2], axis=1).min()
    assert away < 0.15 and len(plan.rooms) == 1
    without = draw_floor_plan(part.mesh, *find_planes(part.mesh, Roles(CLASSES)))
    assert plan.rooms[0].area > sum(room.area for room in without.rooms) + 0.5


def test_the_plan_is_drawn_as_it_lies(whole):
    """x to the right and y up: the table stands in the upper right corner."""
    picture = draw_plan(whole.graph, whole.cameras, 400).astype(int)
    table = (picture == class_colours()[6]).all(axis=2)
    rows, columns = np.nonzero(table)
    assert rows.mean() < 0.4 * picture.shape[0] and columns.mean() > 0.6 * picture.shape[1]


def test_a_map_without_a_surface_is_refused(tmp_path):
    mapper = Mapper(voxel=0.05)
    mapper.fuse(np.zeros((4, 5)), np.diag([5.0, 5, 1]), np.eye(4))
    with pytest.raises(ValueError, match='The map has no surface'):
        mapper.finish().write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_ray_that_never_ends_is_not_followed(tmp_path):
    mapper = Mapper(voxel=0.05)
    mapper.fuse(np.full((40, 50), 1e30), np.diag([50.0, 50, 1]), np.eye(4))
    assert mapper.volume.count == 0 and len(mapper.finish().mesh.points) == 0


def test_an_incomplete_map_says_so():
    assert map_frames(6, memory=1).finish().graph.facts['complete'] is False


def show(log: RerunLog, whole) -> None:
    frame = see(furnished_room(), look_around(1)[0])
    shown = (frame['colours'], frame['depth'], frame['classes'])
    log.frame(0, 0.5, *shown, frame['cam2img'], frame['cam2world'])
    log.mesh(whole.mesh, whole.level)
    log.graph(whole.graph)


def test_what_rerun_is_told(whole, monkeypatch, tmp_path):
    """By a stand-in that keeps what it is given."""
    told = {}

    class Stream:
        def __init__(self, name):
            pass

        def set_sinks(self, *sinks):
            self.sinks = sinks

        def set_time(self, *_, **__):
            pass

        def log(self, path, entity, static=False):
            told[path] = entity

        def flush(self):
            open(self.sinks[0], 'w').write('recording')

        disconnect = set_time

    def keep(*values, **named):
        return SimpleNamespace(values=values, **named, compress=lambda: values[0])

    kinds = 'Transform3D Pinhole Image DepthImage SegmentationImage Mesh3D Boxes3D Points3D'
    stand_in = SimpleNamespace(
        RecordingStream=Stream,
        FileSink=str,
        ViewCoordinates=SimpleNamespace(RIGHT_HAND_Z_UP='z up', RDF='optical'),
        LineStrips3D=keep,
        **dict.fromkeys(kinds.split(), keep),
    )
    monkeypatch.setitem(sys.modules, 'rerun', stand_in)
    with RerunLog(tmp_path / 'map.rrd') as log:
        show(log, whole)
    assert (tmp_path / 'map.rrd').read_text() == 'recording'
    assert told['world'] == 'z up' and told['world/camera/view'].camera_xyz == 'optical'
    assert told['world/camera/view/depth'].values[0].dtype == np.uint16
    assert len(told['level/mesh/colours'].vertex_positions) == len(whole.mesh.points)
    assert told['level/graph/objects'].labels == [thing.name for thing in whole.graph.objects]
    monkeypatch.setitem(sys.modules, 'rerun', None)
    with pytest.raises(ImportError, match='pip install rerun-sdk'):
        RerunLog(tmp_path / 'other.rrd')


def test_rerun_writes_a_recording(whole, tmp_path):
    pytest.importorskip('rerun')
    with RerunLog(tmp_path / 'map.rrd') as log:
        show(log, whole)
    assert (tmp_path / 'map.rrd').read_bytes().startswith(b'RRF2')
    with pytest.raises(RuntimeError), RerunLog(tmp_path / 'broken.rrd'):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ['map.rrd']
