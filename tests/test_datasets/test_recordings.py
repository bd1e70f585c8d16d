"""Recordings in the layouts of 7-Scenes, TUM RGB-D and ScanNet."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import SequenceDataset
from m2h_mm.datasets.inspection import inspect_dataset
from m2h_mm.datasets.recordings import LAYOUTS, tum
from m2h_mm.geometry.pose import pose_from_quaternion

SIZE = (12, 16)
PIPELINE = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskLabels'),
    dict(type='PackMultiTaskInputs'),
]
QUATERNIONS = np.array([[0, 0, 0, 1], [0, 0.6, 0, 0.8], [0.6, 0, 0, 0.8]])
POSES = [pose_from_quaternion([i, 1.5, 0.25], turn) for i, turn in enumerate(QUATERNIONS)]


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), array)


def image(number: int, size=SIZE) -> np.ndarray:
    return np.full((*size, 3), 40 * (number + 1), np.uint8)


def depth(number: int, unit: int, invalid: int) -> np.ndarray:
    """1.5 m, 2 m, ...; one pixel of no measurement, and one of the number 0."""
    values = np.full(SIZE, round((1.5 + 0.5 * number) * unit), np.uint16)
    values[0, :2] = invalid, 0
    return values


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def numbers(pose: np.ndarray) -> str:
    return '\n'.join(' '.join(f'{value:.8e}' for value in row) for row in pose)


@pytest.fixture
def seven_scenes(tmp_path):
    for sequence in (1, 2):
        folder = tmp_path / f'chess/seq-{sequence:02d}'
        for number, pose in enumerate(POSES):
            write(folder / f'frame-{number:06d}.color.png', image(number))
            write(folder / f'frame-{number:06d}.depth.png', depth(number, 1000, 65535))
            text(folder / f'frame-{number:06d}.pose.txt', numbers(pose))
    text(tmp_path / 'chess/TrainSplit.txt', 'sequence2\r\n')
    text(tmp_path / 'chess/TestSplit.txt', 'sequence1\n')
    return tmp_path


@pytest.fixture
def scannet(tmp_path):
    folder = tmp_path / 'scans/scene0000_00'
    for number, pose in zip((0, 20, 100), POSES, strict=True):
        write(folder / f'color/{number}.jpg', image(number // 50, (24, 33)))
        write(folder / f'depth/{number}.png', depth(number // 50, 1000, 0))
        text(folder / f'pose/{number}.txt', numbers(pose))
    text(folder / 'pose/20.txt', '\n'.join(['-inf -inf -inf -inf'] * 4))
    text(folder / 'intrinsic/intrinsic_depth.txt', numbers(np.diag([20.0, 21, 1, 1])))
    text(tmp_path / 'scannetv2_val.txt', 'scene0000_00\n')
    return tmp_path


@pytest.fixture
def recorded(tmp_path):
    """TUM: colour, depth and poses have clocks of their own."""
    folder = tmp_path / 'rgbd_dataset_freiburg2_desk'
    colours, depths, poses = ['# color images'], ['# depth maps'], ['# ground truth']
    for number, turn in enumerate(QUATERNIONS):
        time = 1305031102.0 + number / 30
        write(folder / f'rgb/{number}.png', image(number))
        write(folder / f'depth/{number}.png', depth(number, 5000, 0))
        colours.append(f'{time:.6f} rgb/{number}.png')
        depths.append(f'{time + 0.012:.6f} depth/{number}.png')
        place = f'{number} 1.5 0.25 ' + ' '.join(map(str, turn))
        poses += [f'{time - 0.004:.4f} {place}', f'{time + 0.006:.4f} 9 9 9 0 0 0 1']
    for name, lines in dict(rgb=colours, depth=depths, groundtruth=poses).items():
        text(folder / f'{name}.txt', '\n'.join(lines) + '\n')
    return tmp_path


def build(root, layout, split='all', **kwargs):
    return SequenceDataset(root, layout, split, tasks=['depth'], pipeline=PIPELINE, **kwargs)


def samples(dataset):
    return [dataset[index]['data_samples'] for index in range(len(dataset))]


def assert_depth(sample, metres):
    value, valid = sample.gt_depth.data[0].numpy(), sample.gt_depth.valid[0].numpy()
    assert not valid[0, :2].any() and valid.sum() == valid.size - 2
    np.testing.assert_allclose(value[valid], metres, rtol=1e-6)


def test_seven_scenes(seven_scenes):
    found = samples(build(seven_scenes, '7scenes'))
    assert [sample.sequence for sample in found] == ['chess/seq-01'] * 3 + ['chess/seq-02'] * 3
    assert [sample.frame_index for sample in found] == [0, 1, 2] * 2
    assert found[4].frame_id == 'chess/seq-02/frame-000001.color'
    for sample, pose, metres in zip(found, POSES, (1.5, 2.0, 2.5), strict=False):
        np.testing.assert_allclose(sample.cam2world, pose, atol=1e-7)
        np.testing.assert_array_equal(sample.cam2img, [[585, 0, 320], [0, 585, 240], [0, 0, 1]])
        assert_depth(sample, metres)
    assert found[2].timestamp == pytest.approx(2 / 30)


@pytest.mark.parametrize(
    ('place', 'split', 'sequence'),
    [('', 'train', 'chess/seq-02'), ('', 'val', 'chess/seq-01'), ('chess', 'test', 'seq-01')],
)
def test_lists_of_seven_scenes(seven_scenes, place, split, sequence):
    found = samples(build(seven_scenes / place, '7scenes', split))
    assert {sample.sequence for sample in found} == {sequence}


def test_scannet(scannet):
    found = samples(build(scannet, 'scannet', 'val'))
    assert [sample.frame_id for sample in found] == [
        f'scans/scene0000_00/{number}' for number in (0, 20, 100)
    ]
    assert ['cam2world' in sample for sample in found] == [True, False, True]
    np.testing.assert_allclose(found[2].cam2world, POSES[2], atol=1e-7)
    assert found[2].timestamp == pytest.approx(100 / 30) and found[0].ori_shape == SIZE
    np.testing.assert_array_equal(found[0].cam2img, np.diag([20.0, 21, 1]))
    assert_depth(found[2], 2.5)
    packed = build(scannet, 'scannet', camera=(15, 16, 8, 6))[0]
    assert packed['inputs'].shape == (3, *SIZE)
    assert packed['data_samples'].cam2img[0, 0] == 15


def test_tum(recorded):
    found = samples(build(recorded, 'tum'))
    assert [sample.timestamp for sample in found] == pytest.approx(
        [1305031102.0 + number / 30 for number in range(3)]
    )
    for number, sample in enumerate(found):
        np.testing.assert_allclose(sample.cam2world, POSES[number], atol=1e-7)
        assert sample.cam2img[0, 0] == tum.CAMERAS['freiburg2'][0]
        assert_depth(sample, 1.5 + 0.5 * number)
    assert found[0].sequence == 'rgbd_dataset_freiburg2_desk'
    inside = build(recorded / 'rgbd_dataset_freiburg2_desk', 'tum')
    assert inside[0]['data_samples'].sequence == 'rgbd_dataset_freiburg2_desk'


def test_what_is_too_far_in_time_is_not_taken(recorded):
    folder = recorded / 'rgbd_dataset_freiburg2_desk'
    lines = (folder / 'groundtruth.txt').read_text().splitlines()
    text(folder / 'groundtruth.txt', '\n'.join([lines[0], *lines[3:5]]))
    text(folder / 'depth.txt', (folder / 'depth.txt').read_text().rsplit('\n', 2)[0])
    found = samples(build(recorded, 'tum'))
    assert ['cam2world' in sample for sample in found] == [False, True, False]
    assert ['gt_depth' in sample for sample in found] == [True, True, False]


def test_own_lists_and_recordings_that_are_not_there(recorded):
    with pytest.raises(FileNotFoundError, match="no list of recordings.*gt_sets/val.txt.*'all'"):
        build(recorded, 'tum', 'val')
    text(recorded / 'gt_sets/val.txt', 'rgbd_dataset_freiburg2_desk\n')
    assert len(build(recorded, 'tum', 'val')) == 3
    text(recorded / 'gt_sets/val.txt', 'rgbd_dataset_freiburg3_desk\n')
    with pytest.raises(FileNotFoundError, match='freiburg3_desk: expected rgb.txt'):
        build(recorded, 'tum', 'val')
    for layout in LAYOUTS:
        with pytest.raises(FileNotFoundError, match='Set data_root.*layout'):
            build(recorded / 'gt_sets', layout)


def test_a_missing_file_of_a_pose_is_a_lost_one(seven_scenes):
    (seven_scenes / 'chess/seq-01/frame-000001.pose.txt').unlink()
    found = samples(build(seven_scenes, '7scenes', 'val'))
    assert ['cam2world' in sample for sample in found] == [True, False, True]


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('frame-000001.pose.txt', numbers(np.zeros((4, 4))), 'frame-000001.pose.txt: .*last row'),
        ('frame-000001.pose.txt', 'lost', 'frame-000001.pose.txt'),
        ('../TestSplit.txt', 'scene one', "'sequence3'.*'scene one'"),
    ],
)
def test_damaged_files_are_named(seven_scenes, name, content, message):
    text(seven_scenes / 'chess/seq-01' / name, content)
    with pytest.raises(ValueError, match=message):
        build(seven_scenes, '7scenes', 'val')


def test_damaged_lists_of_times(recorded):
    path = recorded / 'rgbd_dataset_freiburg2_desk/groundtruth.txt'
    for line, message in (('1.0 2 3', '8 columns'), ('noon 0 0 0 0 0 0 1', 'time in seconds')):
        text(path, line)
        with pytest.raises(ValueError, match=f'groundtruth.txt: .*{message}'):
            build(recorded, 'tum')
    stamp = (path.parent / 'rgb.txt').read_text().split()[3]
    text(path, f'{stamp} 0 0 0 0 0 0 5')
    with pytest.raises(ValueError, match='groundtruth.txt: .*length 1'):
        build(recorded, 'tum')


def test_a_bad_frame_among_good_ones(seven_scenes):
    (seven_scenes / 'chess/seq-01/frame-000001.depth.png').write_bytes(b'')
    with pytest.raises(ValueError, match='frame-000001.depth.png'):
        build(seven_scenes, '7scenes', 'val')
    dataset = build(seven_scenes, '7scenes', 'val', on_bad_sample='skip')
    assert dataset[1]['data_samples'].skipped


def test_depth_of_another_size_is_refused(seven_scenes):
    write(seven_scenes / 'chess/seq-01/frame-000001.depth.png', np.ones((6, 8), np.uint16))
    with pytest.raises(ValueError, match='one size'):
        build(seven_scenes, '7scenes', 'val')


def test_stated_formats_go_before_those_of_the_layout(seven_scenes):
    dataset = build(
        seven_scenes, '7scenes', 'val', label_formats=dict(depth=dict(unit='cm', invalid=[65535]))
    )
    assert_depth(dataset[0]['data_samples'], 15.0)


def test_recordings_are_not_inspected(seven_scenes):
    dataset = build(seven_scenes, '7scenes', 'val', lazy_init=True)
    with pytest.raises(ValueError, match="layout='7scenes': only.*NYUD-MT"):
        inspect_dataset(dataset, ['val'])
