"""Names of frames: folders of scenes, lists of any writer, links, letters with marks."""

import logging
import os
import shutil
import unicodedata

import pytest

from m2h_mm.datasets import NYUDDataset, frame_report
from m2h_mm.datasets.frame_files import FrameFiles, look_at_names

FOLDERS = ('images', 'segmentation', 'depth', 'normals', 'edge')


def rename(root, frame_id, new):
    for folder in FOLDERS:
        (path,) = (root / folder).glob(f'{frame_id}.*')
        target = root / folder / (new + path.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def listed(root, text):
    content = text if isinstance(text, bytes) else text.encode()
    (root / 'gt_sets' / 'train.txt').write_bytes(content)
    return NYUDDataset(root, serialize_data=False).data_list


def test_ids_may_contain_folders(make_nyud):
    root = make_nyud()
    rename(root, '0000', 'scene0/0000')
    rename(root, '0001', 'scene1/0000')
    data = listed(root, 'scene1/0000\nscene0/0000\n0002\n')
    assert [frame['frame_id'] for frame in data] == ['scene1/0000', 'scene0/0000', '0002']
    for frame in data:
        stem = frame['frame_id']
        assert frame['img_path'] == str(root / 'images' / f'{stem}.png')
        assert frame['label_paths']['depth'] == str(root / 'depth' / f'{stem}.npy')
        assert len(frame['label_paths']) == 4


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-be'])
def test_lists_of_other_systems(make_nyud, encoding):
    data = listed(make_nyud(), '0002\r\n0000\r\n'.encode(encoding))
    assert [frame['frame_id'] for frame in data] == ['0002', '0000']


def test_letters_with_marks_have_several_forms(make_nyud):
    root = make_nyud(count=2)
    composed, decomposed = (unicodedata.normalize(form, 'küche') for form in ('NFC', 'NFD'))
    rename(root, '0000', decomposed)
    (root / 'depth' / f'{decomposed}.npy').rename(root / 'depth' / f'{composed}.npy')
    (root / 'cameras.json').write_text(f'{{"{decomposed}": [30, 31, 15, 11]}}')
    for name in (composed, decomposed):
        (frame,) = listed(root, name)
        assert frame['frame_id'] == composed and frame['camera'] == [30, 31, 15, 11]
        assert len(frame['label_paths']) == 4


def test_names_that_are_not_utf8(make_nyud):
    root, name = make_nyud(count=1), os.fsdecode(b'caf\xe9')
    rename(root, '0000', name)
    (frame,) = listed(root, b'caf\xe9\n')
    assert frame['frame_id'] == name
    dataset = NYUDDataset(root, pipeline=[dict(type='LoadMultiTaskImage')])
    assert dataset[0]['ori_shape'] == (24, 32)
    with pytest.raises(FileNotFoundError, match='not UTF-8'):
        listed(root, b'caf\xe8\n')


def test_links_are_followed_and_what_is_left_out_is_said(make_nyud, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(frame_report, 'print_log', lambda *text: said.append(text))
    root = make_nyud()
    shutil.move(root / 'depth', tmp_path / 'other_disk')
    os.symlink(tmp_path / 'other_disk', root / 'depth')
    os.symlink(root / 'images', root / 'images' / 'loop')
    os.mkfifo(root / 'edge' / 'pipe.png')
    (root / 'images' / 'notes.txt').touch()
    shutil.copy(root / 'images' / '0000.png', root / 'images' / '0000.jpg')
    assert len(listed(root, '0000\n0001')[0]['label_paths']) == 4
    for folder, what in (
        ('images', "listed already, or above: 1, such as '{}/images/loop'"),
        ('images', 'other suffixes: 1 .txt'),
        ('images', "files beside another one of their frame: 1, such as '{}/images/0000.jpg'"),
        ('edge', "links to nothing, pipes and the like: 1, such as '{}/edge/pipe.png'"),
    ):
        (line,) = (text for text, *level in said if f'left out of {root / folder}' in text)
        assert what.format(root) in line
    assert not any(logging.WARNING in text for text in said)


@pytest.mark.parametrize(
    ('line', 'advice'),
    [
        ('0000.png', "write '0000'"),
        ('images/0000.png', "write '0000'"),
        ('0000.png 0000.npy', "write '0000'"),
        ('scene1\\0000', "write 'scene1/0000'"),
        ('0007', "write 'scene1/0007'"),
        ('# frames of March', 'no comments'),
        ('spaced', "There is 'spaced '"),
        ('/etc/passwd', 'incomplete'),
        ('../images/0000', 'incomplete'),
    ],
)
def test_a_line_that_is_no_id(make_nyud, line, advice):
    root = make_nyud(count=2)
    shutil.copy(root / 'images' / '0000.png', root / 'images' / 'spaced .png')
    for name in ('0000', '0007'):
        target = root / 'images' / 'scene1' / f'{name}.png'
        target.parent.mkdir(exist_ok=True)
        shutil.copy(root / 'images' / '0000.png', target)
    with pytest.raises(FileNotFoundError, match='1 of 2 frames have no image') as error:
        listed(root, f'{line}\n0001')
    assert advice in str(error.value)


def test_names_that_do_not_match():
    files = FrameFiles(
        'data',
        images=dict.fromkeys(['a', 'b', 'unlisted']),
        labels=dict(
            depth=dict.fromkeys(['a', 'b_depth']),
            edge=dict.fromkeys(['a']),
            normals=dict.fromkeys(['a', 'b', 'c']),
        ),
    )
    assert not [said for level, said in look_at_names(files, {'unlisted': ()}, ['a']) if level > 20]
    depth, normals, camera = look_at_names(files, {'a': (), 'b': (), 'z': ()}, ['a'])
    assert depth == (
        logging.INFO,
        "depth labels of frames without an image: 1, such as 'b_depth'.",
    )
    assert normals[0] == logging.INFO and "'c'" in normals[1]
    assert camera == (
        logging.INFO,
        "cameras in cameras.json of frames without an image: 1, such as 'z'.",
    )
    depth, normals, camera = look_at_names(files, {'z': ()}, ['a', 'b'])
    assert depth[0] == camera[0] == logging.WARNING and normals[0] == logging.INFO
    assert "Frames without a depth: 1, such as 'b'. Are they the same" in depth[1]
    assert "Frames without a camera: 2, such as 'a'" in camera[1]
    ((level, twice),) = look_at_names(FrameFiles('data'), {}, ['a', 'b', 'a'])
    assert (
        level == logging.WARNING and "more than once, and count as often: 1, such as 'a'" in twice
    )
