"""``m2h-mm map``: from a folder to the files of a map."""

import json

import cv2
import numpy as np
import pytest
from mapped_room import furnished_room, look_around, see

from m2h_mm.cli import map as command
from m2h_mm.mapping.mapper import FILES
from m2h_mm.mapping.volume import Volume


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    """A room as ScanNet has it; the world of the poses has y down."""
    folder = tmp_path_factory.mktemp('recorded') / 'scene0000_00'
    group = furnished_room()
    turn = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    for name in ('color', 'depth', 'pose', 'intrinsic'):
        (folder / name).mkdir(parents=True)
    for number, camera in enumerate(look_around(8)):
        frame = see(group, camera)
        cv2.imwrite(str(folder / f'color/{number}.png'), frame['colours'])
        depth = np.rint(frame['depth'] * 1000).astype(np.uint16)
        cv2.imwrite(str(folder / f'depth/{number}.png'), depth)
        np.savetxt(folder / f'pose/{number}.txt', turn @ frame['cam2world'])
        np.savetxt(folder / 'intrinsic/intrinsic_depth.txt', frame['cam2img'])
    return folder


def test_a_recording_with_its_own_depth(run, tiny, recording, tmp_path):
    out = tmp_path / 'new'
    options = ('--voxel', 0.08, '--up', 0, -1, 0, '--every', 2)
    said = run('map', recording, tiny[1], '--out', out, *options)
    assert '4 frames of layout scannet' in said and 'up: as given' in said
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    plain = json.loads((out / 'graph.json').read_text())
    assert plain['frames'] == 4 and plain['voxel'] == 0.08 and len(plain['rooms']) == 1
    again = run('map', recording, tiny[1], '--out', out, *options, status=1)
    assert 'is there already' in again


def test_photos_are_predicted(run, tiny, recording, tmp_path, monkeypatch):
    """By the model, but for its depth, which is noise."""
    fuse, kinds = Volume.fuse, set()

    def on_a_wall(volume, depth, cam2img, cam2world, colours, classes, *rest):
        assert depth.shape == classes.shape == colours.shape[:2] and (depth > 0).all()
        kinds.update(np.unique(classes).tolist())
        wall = np.full_like(depth, 2)
        fuse(volume, wall, cam2img, cam2world, colours, classes, *rest)

    monkeypatch.setattr(Volume, 'fuse', on_a_wall)
    out = tmp_path / 'new'
    paths = ('--poses', recording / 'pose', '--out', out, '--voxel', 0.1)
    said = run('map', recording / 'color', tiny[1], *paths, '--every', 4)
    assert '2 frames of layout photos' in said and (out / 'dsg.json').is_file()
    assert 'a view of 60 degrees is assumed' in said
    names = json.loads((out / 'graph.json').read_text())['classes']
    assert len(kinds) > 1 and max(kinds) < len(names or range(256))


def test_a_full_map_is_said_to_be_incomplete(run, tiny, recording, tmp_path):
    out = tmp_path / 'new'
    said = run(
        'map', recording, tiny[1], '--out', out, '--voxel', 0.03, '--memory', 1, '--every', 4
    )
    assert 'the memory of the map is full at' in said and 'the map is not complete' in said
    assert json.loads((out / 'graph.json').read_text())['complete'] is False


def test_nothing_is_left_of_a_map_that_is_interrupted(run, tiny, recording, tmp_path, monkeypatch):
    fuse, calls = Volume.fuse, []

    def interrupt(volume, *frame):
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        fuse(volume, *frame)

    monkeypatch.setattr(Volume, 'fuse', interrupt)
    out = tmp_path / 'new'
    out.mkdir()
    (out / 'mesh.ply.1-0.tmp').write_text('of a process that was killed')
    said = run('map', recording, tiny[1], '--out', out, '--voxel', 0.1, status=command.INTERRUPTED)
    assert 'Interrupted: nothing was written' in said and not list(out.iterdir())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--up', 0, 0, 0), 'up: expected a direction'),
        (('--poses', 'pose'), 'there is no file or folder'),
        (('--layout', 'tum'), 'rgb.txt'),
        (('--fov', 60), '--fov'),
        (('--voxel', 0.00001), 'voxel: expected'),
    ],
)
def test_mistakes_are_one_message(run, tiny, recording, tmp_path, options, message):
    said = run('map', recording, tiny[1], '--out', tmp_path / 'new', *options, status=1)
    assert message in said and 'Traceback' not in said
    assert not (tmp_path / 'new').exists()


def test_the_folder_that_is_read_is_not_written_to(run, tiny, recording):
    said = run('map', recording, tiny[1], '--out', recording / 'map', status=1)
    assert 'Nothing is written into' in said
