"""Data sets whose normals are in another convention are refused when they are built."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from m2h_mm.datasets import MultiTaskDataset, NYUDDataset, RoomsDataset, multitask_dataset
from m2h_mm.datasets.inspection import inspect_dataset
from m2h_mm.datasets.normals_check import require_our_normals

LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]


@pytest.fixture(scope='module')
def rooms(tmp_path_factory) -> Path:
    """Rendered frames, in our convention for sure."""
    return Path(
        RoomsDataset(
            tmp_path_factory.mktemp('rooms'), num_train=2, num_val=1, size=(240, 320), num_workers=0
        ).data_root
    )


@pytest.fixture(params=['rooms', 'nyud_sample'])
def frames(request, tmp_path):
    """``frames(channels, signs)``: a copy of rendered or real frames whose stored normals hold
    other axes.
    """

    def make(channels=(0, 1, 2), signs=(1, 1, 1)):
        root = tmp_path / 'frames'
        shutil.copytree(source, root)
        for path in map(str, (root / 'normals').iterdir()):
            stored = cv2.imread(path)[..., ::-1][..., channels]
            assert cv2.imwrite(path, np.where(np.array(signs) > 0, stored, 255 - stored)[..., ::-1])
        return root

    source = request.getfixturevalue(request.param)
    return make


def test_our_convention_is_accepted_after_a_few_files(frames, monkeypatch):
    """Four frames are read, however large the data set is."""
    dataset = NYUDDataset(frames(), pipeline=LOAD)
    assert len(dataset) == 2
    listed = [dataset.get_data_info(index) for index in range(2)] * 50
    read = []

    def count(kind):
        original = kind.read
        monkeypatch.setattr(
            kind, 'read', lambda task, path: read.append(path) or original(task, path)
        )

    count(type(dataset.tasks['depth']))
    count(type(dataset.tasks['normals']))
    require_our_normals(listed, dataset.tasks, Path('frames'))
    with_both = [data for data in listed if {'depth', 'normals'} <= data['label_paths'].keys()]
    assert len(with_both) >= 50 and len(read) == 2 * 4


@pytest.mark.parametrize(
    ('channels', 'signs', 'axes'),
    [
        ((0, 1, 2), (-1, 1, 1), '-x,y,z'),
        ((0, 1, 2), (1, -1, 1), 'x,-y,z'),
        ((0, 1, 2), (1, 1, -1), 'x,y,-z'),
        ((2, 1, 0), (1, 1, 1), 'z,y,x'),
        ((0, 2, 1), (1, -1, 1), 'x,-z,y'),
        ((2, 1, 0), (-1, -1, 1), '-z,-y,x'),
    ],
)
def test_other_conventions_are_refused_and_named(frames, channels, signs, axes):
    root = frames(channels, signs)
    with pytest.raises(
        ValueError,
        match=rf'(?s)frames/normals .* hold {axes}, '
        r'.*check_normals=False',
    ) as error:
        NYUDDataset(root)
    assert f'm2h-mm check-normals {root} --rewrite' in str(error.value).replace('\n', ' ')
    assert len(NYUDDataset(root, check_normals=False)) == 2
    assert len(NYUDDataset(root, tasks=('semseg', 'normals'))) == 2  # no depth to compare with


def test_without_a_camera_nothing_can_be_said(frames):
    root = frames((0, 1, 2), (1, 1, -1))
    (root / 'cameras.json').unlink(missing_ok=True)
    assert len(MultiTaskDataset(root, tasks=('depth', 'normals'))) == 2


@pytest.mark.parametrize('content', ['noise', 'flat labels', 'flat', 'flat depth'])
def test_labels_that_say_nothing_are_accepted(make_nyud, content):
    root = make_nyud(count=3, size=(240, 320))
    for path in (root / 'normals').iterdir():
        if 'flat' in content and content != 'flat depth':
            cv2.imwrite(
                str(path), np.full((240, 320, 3), (255, 128, 128), np.uint8)
            )  # BGR: toward the camera
    for path in (root / 'depth').iterdir():
        if content in ('flat', 'flat depth'):
            np.save(path, np.full((240, 320), 2, np.float32))
    assert len(NYUDDataset(root)) == 3


def test_rooms_agree_with_themselves_and_do_not_spend_the_time(tmp_path, monkeypatch):
    options = dict(data_root=tmp_path, num_train=2, num_val=1, size=(120, 160), num_workers=0)
    assert len(RoomsDataset(**options, check_normals=True)) == 2
    monkeypatch.setattr(
        multitask_dataset, 'require_our_normals', lambda *_: pytest.fail('it was checked')
    )
    assert len(RoomsDataset(**options)) == 2


def test_a_convention_that_is_stated_is_read_and_checked(rooms, tmp_path):
    shutil.copytree(rooms, tmp_path / 'frames')
    root = tmp_path / 'frames'
    for path in map(str, (root / 'normals').iterdir()):
        stored = cv2.imread(path)[..., ::-1][..., (0, 2, 1)]
        cv2.imwrite(path, np.where([True, False, True], stored, 255 - stored)[..., ::-1])

    def build(convention):
        return NYUDDataset(
            root,
            tasks=('depth', 'normals'),
            pipeline=LOAD,
            label_formats=dict(normals=dict(convention=convention)),
        )

    read = build('refinenet')[0]['gt_normals'].value
    ours = NYUDDataset(rooms, tasks=('depth', 'normals'), pipeline=LOAD)[0]['gt_normals'].value
    np.testing.assert_allclose(read, ours, atol=0.02)
    with pytest.raises(ValueError, match=r"convention='x,-z,y'"):
        build('ladicky')


def test_normals_of_another_place_are_a_warning(rooms, tmp_path, monkeypatch):
    shutil.copytree(rooms, tmp_path / 'frames')
    root, rng = tmp_path / 'frames', np.random.default_rng(0)
    for path in (root / 'normals').iterdir():
        vectors = rng.normal(size=(240, 320, 3))
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        cv2.imwrite(str(path), np.rint((vectors + 1) * 127.5).astype(np.uint8))
    said = []
    monkeypatch.setattr(multitask_dataset, 'print_log', lambda text, *rest: said.append(text))
    dataset = NYUDDataset(root, tasks=('depth', 'normals'))
    (doubt,) = [text for text in said if 'not those of the depth in any convention' in text]
    assert 'axes of the world' in doubt
    report = inspect_dataset(dataset, ['train'])
    kinds = [finding.kind for finding in report.findings]
    assert 'normals of train unlike the depth' in kinds and not report.is_fatal
