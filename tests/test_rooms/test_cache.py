"""Rendered rooms on disk: whole, resumable, safe to ask for from several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from full_disk import full_disk
from process_list import all_end, children

from m2h_mm.datasets import RoomsDataset
from m2h_mm.registry import DATASETS
from m2h_mm.rooms import cache, ensure_rooms, filling, render_frame, rooms_folder
from m2h_mm.tasks import build_tasks

SIZE = (30, 40)
REPOSITORY = Path(__file__).parents[2]
TASK_NAMES = ('semseg', 'depth', 'normals', 'edge')


def start(root: Path, num_train: int, num_workers: int, size=SIZE) -> subprocess.Popen:
    """A script without a main guard that asks for rooms."""
    script = (
        f'from m2h_mm.rooms import ensure_rooms\n'
        f'print(ensure_rooms({str(root)!r}, {num_train}, 1, {size}, seed=2, '
        f'num_workers={num_workers}))\n'
    )
    path = root.parent / 'script.py'
    path.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY)},
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file() and path.name != '.lock'
    }


@pytest.fixture(scope='module')
def rooms(tmp_path_factory):
    root = tmp_path_factory.mktemp('rooms')
    return ensure_rooms(root, 3, 2, SIZE, seed=2, num_workers=0)


def test_files_decode_to_the_frame(rooms):
    tasks = build_tasks(TASK_NAMES)
    tasks['semseg'] = tasks['semseg'].with_format(first=1)
    cameras = json.loads((rooms / 'cameras.json').read_text())
    for index in (1, cache.VAL_START):
        name = cache.frame_id(index)
        frame = render_frame(2, index, *SIZE)
        read = {
            task.name: task.read(rooms / task.folder / f'{name}.png').value
            for task in tasks.values()
        }
        np.testing.assert_array_equal(read['semseg'] + 1, frame.semseg)
        np.testing.assert_array_equal(read['edge'], frame.edge)
        np.testing.assert_allclose(read['depth'], frame.depth, atol=5.1e-4)
        np.testing.assert_allclose(read['normals'], frame.normals, atol=0.01)
        fx, fy, cx, cy = cameras[name]
        np.testing.assert_allclose([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], frame.cam2img)


def test_splits_share_no_room(rooms):
    train, val = (
        (rooms / 'gt_sets' / f'{split}.txt').read_text().split() for split in ('train', 'val')
    )
    assert len(train) == 3 and len(val) == 2 and not set(train) & set(val)


def test_complete_folder_is_only_read(rooms, monkeypatch):
    monkeypatch.setattr(cache, 'render_frame', None)
    before = contents(rooms)
    assert ensure_rooms(rooms.parent, 3, 2, SIZE, seed=2) == rooms
    assert contents(rooms) == before


def test_other_parameters_have_another_folder(rooms):
    folders = {
        rooms_folder(rooms.parent, *arguments)
        for arguments in (
            (3, 2, SIZE, 2),
            (4, 2, SIZE, 2),
            (3, 1, SIZE, 2),
            (3, 2, (30, 41), 2),
            (3, 2, SIZE, 3),
            (3, 2, SIZE, 2, 'varied'),
        )
    }
    assert len(folders) == 6


def test_the_plain_style_keeps_the_folders_of_the_time_when_there_was_one_style(rooms):
    assert rooms_folder('', 3, 2, SIZE, 2, 'plain') == rooms_folder('', 3, 2, SIZE, 2)
    assert rooms.name == 'v1_seed2_30x40_train3_val2'
    assert 'style' not in json.loads((rooms / 'rooms.json').read_text())


def test_dataset_of_the_varied_style(rooms):
    # Rendered by a process, which has to be told the style as well.
    arguments = dict(num_train=1, num_val=1, size=SIZE, seed=2, num_workers=1)
    dataset = RoomsDataset(rooms.parent, 'val', style='varied', **arguments)
    varied = rooms_folder(rooms.parent, 1, 1, SIZE, 2, 'varied')
    assert json.loads((varied / 'rooms.json').read_text())['style'] == 'varied'
    frame = render_frame(2, cache.VAL_START, *SIZE, 'varied')
    np.testing.assert_allclose(dataset[0]['cam2img'], frame.cam2img)
    image = cv2.imread(str(varied / 'images' / f'{cache.frame_id(cache.VAL_START)}.png'))
    np.testing.assert_array_equal(image[..., ::-1], frame.image)


def test_unknown_style(tmp_path):
    with pytest.raises(ValueError, match="style='variedd'.*'plain' and 'varied'.*Did you mean"):
        RoomsDataset(tmp_path, style='variedd')
    assert not any(tmp_path.iterdir())


def test_renamed_folder_is_refused(tmp_path):
    folder = ensure_rooms(tmp_path, 1, 0, SIZE, num_workers=0)
    folder.rename(rooms_folder(tmp_path, 2, 0, SIZE, 0))
    with pytest.raises(ValueError, match='delete it'):
        ensure_rooms(tmp_path, 2, 0, SIZE, num_workers=0)


@pytest.mark.parametrize(
    'arguments', [(0, 1, SIZE), (1, -1, SIZE), (1, 1, (8, 8)), (1, 1, SIZE, -1)]
)
def test_impossible_numbers(tmp_path, arguments):
    with pytest.raises(ValueError, match='num_train='):
        ensure_rooms(tmp_path, *arguments)
    assert not any(tmp_path.iterdir())


def test_unwritable_folder(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'mkdir', refuse)
    with pytest.raises(PermissionError, match='data_root: cannot write'):
        ensure_rooms(tmp_path / 'rooms', 1, 1, SIZE)


def test_killed_run_goes_on_and_two_at_once_agree(tmp_path):
    root = tmp_path / 'rooms'
    first = start(root, 12, num_workers=1, size=(120, 160))
    folder = rooms_folder(root, 12, 1, (120, 160), 2)
    journal = folder / 'finished.jsonl'
    while not (journal.is_file() and journal.read_text().count('\n') >= 2):
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.01)
    workers = children(first.pid)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert all_end(workers)
    assert not (folder / 'rooms.json').exists()
    done = [json.loads(line)[0] for line in journal.read_text().splitlines() if line.endswith(']]')]
    assert len(done) < 13
    kept = {name: (folder / 'images' / f'{name}.png').stat().st_mtime_ns for name in done}
    with open(journal, 'a') as file:
        file.write('["0000011", [1.')  # a line that the kill cut off

    both = [start(root, 12, num_workers=2, size=(120, 160)) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert all(output.strip().endswith(str(folder)) for output in outputs)
    assert {name: (folder / 'images' / f'{name}.png').stat().st_mtime_ns for name in done} == kept
    assert len(json.loads((folder / 'cameras.json').read_text())) == 13
    reference = ensure_rooms(tmp_path / 'in_one_go', 12, 1, (120, 160), seed=2, num_workers=0)
    assert contents(folder) == contents(reference)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_rooms_on_a_full_disk_are_not_complete(rooms, tmp_path, num_workers):
    with full_disk(1000):  # the smallest image has twice as much, what is printed less
        with pytest.raises(OSError, match=r'images/.*png .* could not be written.*Make room'):
            ensure_rooms(tmp_path, 3, 2, SIZE, seed=2, num_workers=num_workers)
    folder = rooms_folder(tmp_path, 3, 2, SIZE, 2)
    assert not (folder / 'rooms.json').exists() and not list(folder.glob('*/*.png'))
    ensure_rooms(tmp_path, 3, 2, SIZE, seed=2, num_workers=0)
    assert contents(folder) == contents(rooms)


@pytest.mark.parametrize('damage', ['empty', 'removed', 'marker'])
def test_what_a_full_disk_or_a_power_cut_emptied_is_rendered_again(rooms, tmp_path, damage):
    folder = tmp_path / rooms.name
    shutil.copytree(rooms, folder)
    path = folder / ('rooms.json' if damage == 'marker' else 'depth/0000001.png')
    path.unlink() if damage == 'removed' else os.truncate(path, 0)
    ensure_rooms(tmp_path, 3, 2, SIZE, seed=2, num_workers=0)
    assert contents(folder) == contents(rooms)


def test_a_folder_that_is_not_needed_may_be_removed(rooms, tmp_path, monkeypatch):
    shutil.copytree(rooms, tmp_path / rooms.name)
    shutil.rmtree(tmp_path / rooms.name / 'normals')
    monkeypatch.setattr(cache, 'render_frame', None)
    ensure_rooms(tmp_path, 3, 2, SIZE, seed=2)


def test_failing_worker_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(filling, '__package__', 'm2h_mm.no_such_package')
    with pytest.raises(RuntimeError, match='ended with code'):
        ensure_rooms(tmp_path, 4, 0, SIZE, num_workers=2)


def test_dataset(rooms):
    arguments = dict(
        data_root=rooms.parent, num_train=3, num_val=2, size=SIZE, seed=2, num_workers=0
    )
    dataset = DATASETS.build(dict(type='RoomsDataset', split='val', **arguments))
    assert isinstance(dataset, RoomsDataset) and len(dataset) == 2
    assert len(dataset.metainfo['classes']) == 40
    sample = dataset[0]
    assert sample['frame_id'] == cache.frame_id(cache.VAL_START) and sample['ori_shape'] == SIZE
    assert set(sample['label_paths']) == set(TASK_NAMES)
    assert dataset.tasks['semseg'].label_format.first == 1
    np.testing.assert_allclose(sample['cam2img'], render_frame(2, cache.VAL_START, *SIZE).cam2img)


def test_dataset_renders_when_it_is_loaded(tmp_path):
    dataset = RoomsDataset(
        tmp_path, num_train=1, num_val=1, size=SIZE, num_workers=0, lazy_init=True
    )
    assert not any(tmp_path.iterdir())
    dataset.full_init()
    assert len(dataset) == 1
