"""What is wrong with the data or the settings is said, most of it when the data set is built."""

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import NYUDDataset

LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]


def test_no_data(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        NYUDDataset(tmp_path / 'nowhere')
    text = str(error.value)
    for part in (
        str(tmp_path / 'nowhere' / 'images'),
        'segmentation/<id>',
        'gt_sets/train.txt',
        'NYUD-MT',
        'data_root',
        'm2h-mm train m2h_tiny_rooms',
    ):
        assert part in text


def test_empty_image_folder(make_nyud):
    root = make_nyud(count=1)
    (root / 'images/0000.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'no \.png, \.jpg'):
        NYUDDataset(root)


def test_missing_split(make_nyud):
    with pytest.raises(
        FileNotFoundError,
        match=r"split='test'.*gt_sets/test\.txt.*\['train', "
        r"'val'\]",
    ):
        NYUDDataset(make_nyud(), split='test')


def test_empty_split(make_nyud):
    root = make_nyud()
    (root / 'gt_sets/val.txt').write_text('\n \n')
    with pytest.raises(ValueError, match=r'val\.txt is empty'):
        NYUDDataset(root, split='val')


def test_missing_images(make_nyud):
    root = make_nyud(count=3)
    (root / 'images/0002.png').unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 frames have no image in .*\['0002'\]"):
        NYUDDataset(root)


def test_unknown_task(make_nyud):
    with pytest.raises(ValueError, match=r"unknown task 'normal'.*'depth'.*Did you mean 'normals'"):
        NYUDDataset(make_nyud(), tasks=('semseg', 'normal'))


def test_label_of_another_size(make_nyud):
    root = make_nyud()
    np.save(root / 'depth/0002.npy', np.ones((24, 30), np.float32))
    with pytest.raises(
        ValueError,
        match=r'depth label .*0002\.npy is 24x30, its image .*0002\.png '
        r'is 24x32',
    ):
        NYUDDataset(root)


@pytest.mark.parametrize(
    'file', ['images/0002.png', 'depth/0002.npy', 'normals/0002.png', 'segmentation/0002.png']
)
@pytest.mark.parametrize('damage', ['empty', 'cut', 'other'])
def test_damaged_file_is_named_when_built(make_nyud, file, damage):
    root = make_nyud()
    content = (root / file).read_bytes()
    (root / file).write_bytes(
        {'empty': b'', 'cut': content[: len(content) * 2 // 3], 'other': b'<html>' * 50}[damage]
    )
    with pytest.raises(ValueError, match=file):
        NYUDDataset(root)


def test_cut_jpeg_is_named_when_built(make_nyud):
    root = make_nyud(image='.jpg')
    content = (root / 'images/0001.jpg').read_bytes()
    (root / 'images/0001.jpg').write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r'0001\.jpg.*truncated'):
        NYUDDataset(root)


@pytest.mark.parametrize('file', ['images/0002.png', 'segmentation/0002.png'])
def test_damage_inside_is_named_when_read(make_nyud, file):
    root = make_nyud(size=(64, 64))
    content = bytearray((root / file).read_bytes())
    content[len(content) // 3 : len(content) // 3 + 40] = bytes(40)
    (root / file).write_bytes(content)
    with pytest.raises(ValueError, match=file):
        NYUDDataset(root, pipeline=LOAD)[2]


def test_unknown_class(make_nyud):
    root = make_nyud(count=2)
    stored = np.full((24, 32), 1, np.uint8)
    stored[3, 4:6] = (41, 200)
    cv2.imwrite(str(root / 'segmentation/0001.png'), stored)
    with pytest.raises(
        ValueError, match=r'0001\.png holds the values \[41, 200\]; expected 1\.\.40'
    ):
        NYUDDataset(root, pipeline=LOAD)


def test_wrong_number_of_classes_shows_when_built(make_nyud):
    with pytest.raises(ValueError, match='num_classes=13'):
        NYUDDataset(make_nyud(), tasks=dict(semseg=dict(num_classes=13)))


@pytest.mark.parametrize(
    'content', ['{"0000": [1, 2, 3]}', '[1, 2]', '{', '{"0000": [0, 1, 2, 3]}']
)
def test_bad_camera_file(make_nyud, content):
    root = make_nyud(count=1)
    (root / 'cameras.json').write_text(content)
    with pytest.raises(ValueError, match=r'cameras\.json.*fx, fy, cx, cy'):
        NYUDDataset(root)


def test_labels_loaded_after_the_image_moved(make_nyud):
    pipeline = [
        dict(type='LoadMultiTaskImage'),
        dict(type='RandomCrop', size=(8, 8)),
        dict(type='LoadMultiTaskLabels'),
    ]
    dataset = NYUDDataset(make_nyud(count=1), pipeline=pipeline)
    with pytest.raises(ValueError, match='after RandomCrop'):
        dataset[0]
