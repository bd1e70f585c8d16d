"""Walks on disk: whole, resumable, with poses."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest

from m2h_mm.rooms import Walk, WalkOptions, ensure_walks, walk_cache, walks_folder
from m2h_mm.tasks import build_tasks

SIZE = (16, 24)
OPTIONS = WalkOptions(num_frames=3, moving='ball')
ARGUMENTS = dict(num_train=2, num_val=1, size=SIZE, seed=2, options=OPTIONS)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.name != '.lock'
    }


@pytest.fixture(scope='module')
def walks(tmp_path_factory):
    return ensure_walks(tmp_path_factory.mktemp('walks'), **ARGUMENTS, num_workers=0)


def test_files_are_those_of_the_walk(walks):
    frame = Walk(2, 1, *SIZE, options=OPTIONS).frame(2)
    for task in build_tasks(['depth', 'normals', 'edge']).values():
        read = task.read(walks / task.folder / '0000001/0002.png').value
        np.testing.assert_allclose(read, vars(frame)[task.name], atol=0.01)
    for name, channels in (('images', frame.image[..., ::-1]), ('instances', frame.instances)):
        stored = cv2.imread(str(walks / name / '0000001/0002.png'), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(stored, channels)
    pose = json.loads((walks / 'poses.json').read_text())['0000001/0002']
    np.testing.assert_array_equal(pose['cam2world'], frame.cam2world)
    assert pose['timestamp'] == frame.timestamp == 2 / 15
    lists = [(walks / 'gt_sets' / f'{split}.txt').read_text().split() for split in ('train', 'val')]
    assert [len(names) for names in lists] == [6, 3] and lists[0][5] == '0000001/0002'


def test_whole_walks_are_only_read(walks, monkeypatch):
    monkeypatch.setattr(walk_cache, 'Walk', None)
    before = contents(walks)
    assert ensure_walks(walks.parent, **ARGUMENTS, num_workers=0) == walks
    assert contents(walks) == before


@pytest.mark.parametrize('damage', ['frame', 'walk', 'empty', 'marker', 'poses'])
def test_only_what_is_missing_is_rendered_again(walks, tmp_path, monkeypatch, damage):
    folder = tmp_path / walks.name
    shutil.copytree(walks, folder)
    if damage == 'walk':
        shutil.rmtree(folder / 'depth/0000001')
    elif damage == 'empty':
        os.truncate(folder / 'normals/0000001/0001.png', 0)
    else:
        name = dict(frame='depth/0000001/0001.png', marker='walks.json', poses='poses.json')[damage]
        (folder / name).unlink()
    if damage == 'poses':
        (folder / 'walks.json').unlink()
    rendered = []
    frame = Walk.frame
    monkeypatch.setattr(
        Walk, 'frame', lambda walk, number: rendered.append(number) or frame(walk, number)
    )
    ensure_walks(tmp_path, **ARGUMENTS, num_workers=0)
    assert contents(folder) == contents(walks)
    once = dict(frame=[1], empty=[1], walk=[0, 1, 2])
    assert rendered == once.get(damage, [])


def test_processes_render_the_same(walks, tmp_path):
    # Killed after the first walk and one frame of the second: that goes on.
    folder = tmp_path / walks.name
    for kind in (*walk_cache.FOLDERS, 'instances'):
        for name in (
            '0000000/0000.png',
            '0000000/0001.png',
            '0000000/0002.png',
            '0000001/0000.png',
        ):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(walks / kind / name, folder / kind / name)
    (folder / 'finished.jsonl').write_text('["0000000", [[1.0')
    ensure_walks(tmp_path, **ARGUMENTS, num_workers=1)
    assert contents(folder) == contents(walks)


def test_other_options_have_another_folder():
    options = [OPTIONS, WalkOptions(3), WalkOptions(3, shutter=0.02), WalkOptions(4)]
    folders = {walks_folder('', 2, 1, SIZE, 2, 'plain', option) for option in options}
    assert len(folders) == 4
    assert walks_folder('', 2, 1, SIZE, 2, 'varied', OPTIONS).name == (
        'walks_v2.1_varied_seed2_16x24_train2_val1_frames3_movingball'
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_frames=0), 'num_frames of at least 1'),
        (dict(fps=0), 'fps above 0'),
        (dict(shutter=0.5), 'shutter'),
        (dict(exposure='autoo'), "Did you mean 'auto'"),
        (dict(moving='cat'), "'ball', 'box'"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        WalkOptions(**options)
