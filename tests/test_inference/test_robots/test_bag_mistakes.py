"""Bags that cannot be read or written are named with a way out, and bags are whole or not there."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from small_bags import IMAGES, SIZE, SmallBag, name_of, read_all

from m2h_mm.inference.robots.bag_files import BagCopy
from m2h_mm.inference.robots.bags import WARM_UP
from m2h_mm.inference.robots.map_store import MapStore

pytest.importorskip('rosbags')
SECOND = 10**9
GREY = np.full((*SIZE, 3), 90, np.uint8)


def write(path, kind='ros1', count=1, infos=True, encoding='rgb8'):
    with SmallBag(path, kind) as small:
        for number in range(count):
            small.image(SECOND + number * SECOND, GREY + number, encoding)
            if infos:
                small.info(SECOND + number * SECOND)
    return path


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (('--image-topic', '/cam/image'), "It has /cam/image_raw. Did you mean '/cam/image_raw'"),
        (('--camera-info-topic', '/x'), 'there is no camera info /x. It has /cam/camera_info.'),
        (('--maps', 'depth', '--compression', 'zstd'), 'bags of ROS 1 know none, lz4, bz2'),
    ],
)
def test_what_the_bag_does_not_have(bag, tmp_path, options, said):
    path = write(tmp_path / 'in.bag')
    assert said in bag(path, tmp_path / 'out.bag', *options, status=1)
    assert list(tmp_path.iterdir()) == [path]


def test_topics_that_nobody_named(bag, tmp_path):
    path, out = tmp_path / 'in.bag', tmp_path / 'out.bag'
    with SmallBag(path) as small:
        small.text(SECOND, 'nothing to see')
    assert 'It has no image topic at all' in bag(path, out, status=1)
    path.unlink()
    with SmallBag(path) as small:
        small.image(SECOND, GREY, topic='/left')
        small.image(SECOND, GREY, topic='/right')
    said = bag(path, out, status=1)
    assert 'an image topic must be named. It has /left, /right.' in said
    said = bag(path, out, '--image-topic', '/left', '--rectify', status=1)
    assert 'there is no /camera_info. It has no CameraInfo at all.' in said
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_of_an_encoding_that_is_not_read(bag, tmp_path):
    path = write(tmp_path / 'in.bag', encoding='8SC3')
    said = bag(path, tmp_path / 'out.bag', status=1)
    assert "topic /cam/image_raw: Images of the encoding '8SC3' are not read; known are" in said
    assert not (tmp_path / 'out.bag').exists()


def test_a_camera_that_is_not_calibrated(bag, tmp_path):
    path = tmp_path / 'in.bag'
    with SmallBag(path) as small:
        small.image(SECOND, GREY)
        small.info(SECOND, K=[0.0] * 9)
    said = bag(path, tmp_path / 'out.bag', status=1)
    assert 'topic /cam/camera_info: CameraInfo: all intrinsics are 0' in said


@pytest.mark.parametrize('kind', ['ros1', 'sqlite3', 'mcap'])
@pytest.mark.parametrize('share', [0.0, 0.6])
def test_bags_that_were_cut_off(bag, tmp_path, kind, share):
    path = write(tmp_path / name_of(kind, 'in'), kind)
    file = path if kind == 'ros1' else next(path.glob('*.[dm]*[3p]'))
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    said = bag(path, tmp_path / name_of(kind, 'out'), status=1)
    assert 'is damaged or not complete: ' in said and 'reindex" can repair it' in said
    assert 'Traceback' not in said


def test_a_bag_that_lacks_messages(bag, tmp_path):
    path = write(tmp_path / 'in', 'sqlite3')
    about = path / 'metadata.yaml'
    about.write_text(about.read_text().replace('message_count: 1', 'message_count: 2'))
    said = bag(path, tmp_path / 'out', status=1)
    assert 'it announces 4 messages, and holds 2' in said and not (tmp_path / 'out').exists()


def test_what_is_no_bag(bag, tmp_path):
    assert 'There is no bag' in bag('nowhere.bag', 'out.bag', status=1)
    (tmp_path / 'a.txt').write_text('')
    assert 'is no bag: expected a file .bag' in bag('a.txt', 'out.bag', status=1)


def test_without_rosbags_it_says_what_to_install(bag, tmp_path, monkeypatch):
    path = write(tmp_path / 'in.bag')
    monkeypatch.setitem(__import__('sys').modules, 'rosbags.highlevel', None)
    said = bag(path, tmp_path / 'out.bag', status=1)
    assert 'pip install m2h_mm[bags]' in said and 'Traceback' not in said


def test_no_bag_is_replaced_by_chance(bag, tmp_path):
    path, folder = write(tmp_path / 'in.bag'), write(tmp_path / 'in', 'mcap')
    before = {one: one.read_bytes() for one in (path, *folder.iterdir())}
    (tmp_path / 'other.bag').write_text('mine')
    (tmp_path / 'empty').mkdir()
    for source, out, said in (
        (path, path, 'is read by this command'),
        (path, tmp_path / 'other.bag', 'is there already'),
        (path, tmp_path / 'out', 'is called NAME.bag'),
        (folder, folder, 'Nothing is written into'),
        (folder, folder / 'out', 'Nothing is written into'),
        (folder, tmp_path / 'empty', 'a folder is not replaced'),
        (folder, tmp_path / 'out.bag', 'is a folder: give it a name without .bag'),
    ):
        overwrite = () if 'already' in said else ('--overwrite',)
        assert said in bag(source, out, *overwrite, status=1)
    assert before == {one: one.read_bytes() for one in before}
    assert (tmp_path / 'other.bag').read_text() == 'mine'
    bag(path, tmp_path / 'other.bag', '--overwrite', '--maps', 'depth')
    again = (tmp_path / 'other.bag', tmp_path / 'out.bag', '--image-topic', IMAGES)
    assert 'has /camera/depth_cam/image_raw, /mono_hydra' in bag(*again, status=1)


@pytest.mark.parametrize('kind', ['ros1', 'mcap'])
def test_interrupted_it_goes_on(bag, quick, tmp_path, kind, monkeypatch):
    path = write(tmp_path / name_of(kind, 'in'), kind, count=4)
    whole, out = (tmp_path / name_of(kind, name) / name_of(kind, 'b') for name in ('x', 'y'))
    bag(path, whole)

    quick.done, quick.stop = 0, 3
    said = bag(path, out, status=130)
    assert 'Interrupted after 3 pictures: no bag was written. The same command goes on' in said
    assert not out.exists()
    quick.done, quick.stop = 0, 2

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # while the bag itself is written
        patch.setattr(BagCopy, 'add', stop)
        bag(path, out, status=130)
    assert quick.done == 1 and not out.exists()
    quick.done, quick.stop = 0, 0
    bag(path, out)
    plain = [
        [(one.topic, *rest) for one, *rest, _ in read_all(one_bag)] for one_bag in (whole, out)
    ]
    assert plain[0] == plain[1] and list(out.parent.iterdir()) == [out]


def test_what_was_steadied_is_steady_where_it_was_interrupted(bag, quick, tmp_path, monkeypatch):
    """The stabiliser sees the last pictures again."""
    seen, forgotten = [], []
    steady = SimpleNamespace(check_batch=lambda size: None, reset=lambda: forgotten.append(1))
    quick.stabiliser = steady
    path, out = write(tmp_path / 'in.bag', count=WARM_UP + 4), tmp_path / 'out.bag'
    quick.stop = WARM_UP + 2
    bag(path, out, '--stabilise', '--maps', 'depth', status=130)
    real = quick.stream
    monkeypatch.setattr(
        quick, 'stream', lambda images, *how: seen.extend(images) or real(images, *how)
    )
    quick.done, quick.stop = 0, None
    bag(path, out, '--stabilise', '--maps', 'depth')
    numbers = [int(image[0, 0, 0]) - 90 for _, image in seen]
    assert numbers == list(range(2, WARM_UP + 4)) and len(forgotten) == 2
    assert len(read_all(out)) == (WARM_UP + 4) * 4


def test_what_another_job_has_begun_is_not_taken(bag, quick, tmp_path):
    path, out = write(tmp_path / 'in.bag', count=3), tmp_path / 'out.bag'
    quick.stop = 2
    bag(path, out, '--maps', 'depth', status=130)
    quick.done, quick.stop = 0, None
    bag(path, out, '--maps', 'depth', '--depth-scale', 2)
    assert quick.done == 3
    part = tmp_path / 'new.bag.part'
    part.mkdir()
    (part / 'mine').touch()
    said = bag(path, tmp_path / 'new.bag', status=1)
    assert 'is not from a bag that was begun here' in said and (part / 'mine').exists()


def test_a_full_disk_is_said(bag, tmp_path, monkeypatch):
    import sqlite3

    from m2h_mm.inference.robots import map_store

    path = write(tmp_path / 'in.bag', count=2)

    class Full(sqlite3.Connection):
        def executemany(self, *_):
            raise sqlite3.OperationalError('database or disk is full')

    real = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(map_store.sqlite3, 'connect', lambda path: real(path, factory=Full))
        said = bag(path, tmp_path / 'out.bag', status=1)
    assert 'No space left on device' in said and 'are free there' in said
    bag(path, tmp_path / 'out.bag')
    shutil.rmtree(tmp_path)


def test_a_frame_is_kept_whole_or_not_at_all(tmp_path):
    path = tmp_path / 'maps.db'

    def half():
        yield 'a', b'1'
        raise RuntimeError

    with pytest.raises(RuntimeError), MapStore(path) as store:
        store.add([('a', b'0'), ('b', b'1')])
        store.add(half())
    with MapStore(path) as store:
        assert len(store) == 1 and list(store.messages(0)) == [('a', b'0'), ('b', b'1')]
        assert not list(store.messages(1))
    path.write_bytes(path.read_bytes()[:100] + b'x' * 4000)  # after a power cut
    with MapStore(path) as store:
        assert len(store) == 0
