"""Data in folders and by names of somebody's own."""

import json

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from m2h_mm.datasets import FolderDataset
from m2h_mm.datasets.camera_files import read_camera_file
from m2h_mm.datasets.inspection import inspect_dataset
from m2h_mm.datasets.shares import divide, place_of

SIZE = (12, 16)
RED, BLACK = (128, 0, 0), (0, 0, 0)
PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='PackMultiTaskInputs'),
]
TASKS = dict(semseg=dict(num_classes=2), depth=dict())
LABELS = dict(semseg='{scene}/masks/{frame}_mask.png', depth='{scene}/depth/{frame}.png')


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def root(tmp_path):
    """Scenes a to e with two frames each, colours for classes, millimetres, and a camera each."""
    for scene in 'abcde':
        for frame in ('0001', '0002'):
            folder = tmp_path / scene
            write(folder / 'rgb' / f'{frame}.JPG', np.full((*SIZE, 3), ord(scene), np.uint8))
            mask = np.zeros((*SIZE, 3), np.uint8)
            mask[:, :4] = RED[::-1]
            write(folder / 'masks' / f'{frame}_mask.png', mask)
            write(folder / 'depth' / f'{frame}.png', np.full(SIZE, 1500, np.uint16))
        (tmp_path / scene / 'K.txt').write_text('20 0 7.5\n0 20 5.5\n0 0 1\n')
    return tmp_path


def build(root, **options):
    options = {
        **dict(
            data_root=root,
            image='{scene}/rgb/{frame}.jpg',
            labels=LABELS,
            splits=dict(val='e/*'),
            camera='{scene}/K.txt',
            tasks=TASKS,
            pipeline=PIPELINE,
            label_formats=dict(semseg=dict(palette=[BLACK, RED])),
        ),
        **options,
    }
    return FolderDataset(**options)


def ids(dataset):
    return [dataset.get_data_info(index)['frame_id'] for index in range(len(dataset))]


def test_frames_are_found_by_their_names_and_read_as_stated(root):
    val, train = build(root, split='val'), build(root)
    assert ids(val) == ['e/0001', 'e/0002']
    assert ids(train) == [f'{scene}/{frame}' for scene in 'abcd' for frame in ('0001', '0002')]
    sample = val[0]['data_samples']
    classes = sample.gt_semseg.data[0].numpy()
    assert (classes[:, :4] == 1).all() and (classes[:, 4:] == 0).all()
    np.testing.assert_allclose(sample.gt_depth.data.numpy(), 1.5)
    np.testing.assert_array_equal(sample.cam2img, [[20, 0, 7.5], [0, 20, 5.5], [0, 0, 1]])
    assert len(build(root, split='all')) == 10


def test_one_name_stands_for_folders_too(root):
    """Then a folder stays together in a share."""
    dataset = build(
        root, image='{id}.jpg', labels={}, splits=dict(val=0.4), camera=(20, 20, 7.5, 5.5)
    )
    assert {frame_id.partition('/rgb/')[1] for frame_id in ids(dataset)} == {'/rgb/'}
    scenes = {frame_id[0] for frame_id in ids(dataset)}
    assert len(ids(dataset)) == 2 * len(scenes) and 0 < len(scenes) < 5
    assert dataset[0]['data_samples'].cam2img[0, 0] == 20


def test_a_name_that_is_there_twice_holds_the_same(root):
    for scene in 'ab':
        write(root / 'flat' / scene / f'{scene}_1.png', np.zeros((*SIZE, 3), np.uint8))
    write(root / 'flat' / 'a' / 'b_1.png', np.zeros((*SIZE, 3), np.uint8))
    options = dict(labels={}, camera=None, splits={})
    dataset = build(root, image='flat/{scene}/{scene}_{frame}.*', **options)
    assert ids(dataset) == ['a/1', 'b/1']


def test_shares_keep_scenes_together_and_follow_from_their_names():
    groups = {f's{index}/{frame}': f's{index}' for index in range(400) for frame in range(2)}
    found = divide(groups, dict(val=0.2, test=0.1), 'train', None)
    assert sum(map(len, found.values())) == len(groups)
    assert len(found['val']) == pytest.approx(160, abs=1)
    scenes = [{groups[frame] for frame in frames} for frames in found.values()]
    assert not (scenes[0] & scenes[1] or scenes[0] & scenes[2] or scenes[1] & scenes[2])
    # One scene more moves one scene of a share at most.
    more = divide({**groups, 'new/0': 'new'}, dict(val=0.2, test=0.1), 'train', None)
    assert len(set(more['val']) ^ set(found['val'])) <= 3
    # Of few scenes each share has one.
    few = divide({'a/0': 'a', 'b/0': 'b', 'c/0': 'c'}, dict(val=0.1, test=0.1), 'train', None)
    assert [len(frames) for frames in few.values()] == [1, 1, 1]
    assert 0 <= place_of('') < 1


def test_a_list_names_frames_in_its_own_order(root):
    (root / 'mine.txt').write_text('c/0002\na/0001\n')
    assert ids(build(root, splits=dict(val='mine.txt'), split='val')) == ['c/0002', 'a/0001']
    assert len(build(root, splits=dict(val='mine.txt'))) == 8
    (root / 'mine.txt').write_text('c/0003\n')
    with pytest.raises(FileNotFoundError, match=r'c/0003.*'):
        build(root, splits=dict(val='mine.txt'), split='val')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(image='rgb/*.jpg'), r'image: expected a path with \{id\}'),
        (dict(image='{a b}.jpg'), 'image: expected a path'),
        (dict(image='../{scene}/{frame}.jpg'), 'image: expected a path below data_root'),
        (dict(image='{scene}/rgb/{frame}.txt'), r'image=.*expected a file of .*\.jpg'),
        (dict(labels=dict(depth='depth/{id}.png')), r'labels.depth=.*expected the names of image'),
        (dict(labels=dict(dept='{scene}/{frame}.png')), 'labels.dept: .*depth'),
        (dict(labels=dict(masks='{scene}/{frame}.png')), 'labels.masks: there is no such task'),
        (dict(splits=dict(val=1.5)), 'splits.val: expected a share'),
        (dict(splits=dict(val=0.7, test=0.6)), 'at most 1 together'),
        (dict(splits=dict(val=3.5j)), 'splits.val: expected a share such as'),
        (dict(splits=dict(val='kitchen/*'), split='val'), "none of the 10 frames.*'a/0001'"),
        (dict(camera=(1, 2, 3)), 'camera: expected fx, fy, cx, cy'),
        (dict(camera='{room}/K.txt'), 'camera=.*expected a path with names of image'),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(root, options, message):
    with pytest.raises(ValueError, match=message):
        build(root, **options)


def test_what_is_not_there_is_named(root):
    with pytest.raises(FileNotFoundError, match=r'nothing fits[\s\S]*Expected layout'):
        build(root, image='{scene}/colour/{frame}.jpg')
    with pytest.raises(FileNotFoundError, match='lists/val.txt'):
        build(root, splits=dict(val='lists/val.txt'), split='val')
    with pytest.raises(FileNotFoundError, match='no image has such a file'):
        build(root, camera='{scene}/intrinsics.txt')


def test_check_data_looks_at_it(root):
    (root / 'a' / 'depth' / '0001.png').write_bytes(b'cut off')
    dataset = build(root, lazy_init=True, pipeline=[])
    report = inspect_dataset(dataset, ['train', 'val'])
    assert report.frames == dict(train=8, val=2)
    fatal = [finding for finding in report.findings if finding.fatal]
    assert len(fatal) == 1 and 'depth' in fatal[0].kind and '0001.png' in fatal[0].item


def test_a_config_names_the_files(root, run, tmp_path):
    settings = dict(
        type='FolderDataset',
        data_root=str(root),
        image='{scene}/rgb/{frame}.jpg',
        labels=LABELS,
        splits=dict(val='e/*'),
        split='val',
        tasks=TASKS,
        label_formats=dict(semseg=dict(palette=[BLACK, RED])),
        metainfo=dict(classes=('floor', 'thing')),
    )
    config = tmp_path / 'mine.py'
    Config(dict(test_dataloader=dict(dataset=settings))).dump(config)
    said = run('check-data', '--config', config)
    assert '0 errors' in said and 'train' in said and 'thing' in said


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('k.txt', '20, 21, 7.5, 5.5'),
        ('k.json', json.dumps([[20, 0, 7.5], [0, 21, 5.5], [0, 0, 1]])),
        ('k.txt', '20 0 7.5 0\n0 21 5.5 0\n0 0 1 0\n0 0 0 1\n'),
    ],
)
def test_cameras_in_the_usual_forms(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_camera_file(tmp_path / name, 'camera') == (20, 21, 7.5, 5.5)
    np.save(tmp_path / 'k.npy', [[20, 0, 7.5], [0, 21, 5.5], [0, 0, 1]])
    assert read_camera_file(tmp_path / 'k.npy', 'camera') == (20, 21, 7.5, 5.5)


@pytest.mark.parametrize('content', ['', '1 2 3', 'a b c d', '0 0 0 0', '20 1 7 0 20 5 0 0 1'])
def test_what_is_no_camera(tmp_path, content):
    (tmp_path / 'k.txt').write_text(content)
    with pytest.raises(ValueError, match='camera k: expected fx, fy, cx, cy'):
        read_camera_file(tmp_path / 'k.txt', 'camera k')
