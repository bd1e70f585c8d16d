"""Missing, damaged and unknown files of PASCAL-Context, and the command."""

import os
from functools import partial

import numpy as np
import pytest
import scipy.io
from PIL import Image

from m2h_mm.datasets.converters.pascal_context import convert_pascal_context

from .conftest import SIZE, TRAIN, VAL, box, load, write_parts


def test_a_frame_may_lack_any_label(release, tmp_path, capsys):
    root, _ = release
    (root / 'sal_distill' / f'{TRAIN[0]}.png').unlink()
    (root / 'human_parts' / f'{TRAIN[0]}.mat').unlink()
    (root / 'pascal-context' / 'trainval' / f'{TRAIN[1]}.mat').unlink()
    convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    said = capsys.readouterr().out
    assert 'semseg 5, human_parts 4, saliency 4, normals 5, label_map 4' in said
    fields = [
        {key for key in frame if key.startswith('gt_')} for frame in load(tmp_path / 'out').values()
    ]
    assert fields == [
        {'gt_semseg', 'gt_normals', 'gt_edge'},
        {'gt_semseg', 'gt_human_parts', 'gt_saliency'},
        {'gt_semseg', 'gt_human_parts', 'gt_saliency', 'gt_normals', 'gt_edge'},
    ]


@pytest.mark.parametrize(
    'folder',
    [
        'JPEGImages',
        'semseg/VOC12',
        'human_parts',
        'normals_distill',
        'sal_distill',
        'pascal-context/trainval',
    ],
)
@pytest.mark.parametrize('damage', ['cut', 'empty', 'other'])
def test_a_damaged_file_is_named_and_the_others_are_kept(release, tmp_path, folder, damage):
    root, _ = release
    path = next((root / folder).glob(f'{TRAIN[2]}.*'))
    content = path.read_bytes()
    path.write_bytes(
        dict(cut=content[: len(content) // 2], empty=b'', other=b'<html>' * 40)[damage]
    )
    with pytest.raises(
        ValueError,
        match=rf'1 frames cannot be converted:\n  {TRAIN[2]}: '
        rf'.*{folder}/{path.name}',
    ):
        convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    assert sorted(file.stem for file in (tmp_path / 'out' / 'images').iterdir()) == sorted(
        {*TRAIN, *VAL} - {TRAIN[2]}
    )
    path.write_bytes(content)
    convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    assert list(load(tmp_path / 'out')) == TRAIN


def test_files_of_another_kind_are_named(release, tmp_path):
    root, _ = release
    small = np.zeros((10, 10), np.uint8)
    scipy.io.savemat(root / 'pascal-context' / 'trainval' / f'{TRAIN[0]}.mat', dict(other=small))
    Image.fromarray(np.full((*SIZE, 3), (1, 2, 3), np.uint8)).save(
        root / 'semseg' / 'pascal-context' / f'{TRAIN[1]}.png'
    )
    Image.fromarray(small).save(root / 'sal_distill' / f'{TRAIN[2]}.png')
    Image.fromarray(np.full(SIZE, 21, np.uint8)).save(
        root / 'semseg' / 'pascal-context' / f'{VAL[0]}.png'
    )
    write_parts(
        root / 'human_parts' / f'{VAL[1]}.mat',
        [('person', 15, box(0, 0, 9, 9), [('wing', box(0, 0, 9, 9))])],
    )
    with pytest.raises(ValueError) as error:
        convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    lines = str(error.value).split('\n')[1:6]
    for line, words in zip(
        lines,
        [
            ('LabelMap', f'{TRAIN[0]}.mat'),
            ('colours',),
            ('10x10', '20x28'),
            ('[21]',),
            ("'wing'", 'luarm'),
        ],
        strict=True,
    ):
        assert all(word in line for word in words), line
    write_parts(root / 'human_parts' / f'{VAL[1]}.mat', [('person', 15, small, [('head', small)])])
    with pytest.raises(ValueError, match=rf'human_parts/{VAL[1]}.mat cannot be read'):
        convert_pascal_context(root, tmp_path / 'out', num_workers=0)


def test_what_is_missing_of_the_release_is_said(release, tmp_path):
    root, _ = release
    (root / 'ImageSets' / 'Context' / 'val.txt').unlink()
    os.rename(root / 'normals_distill', root / 'normals')
    with pytest.raises(
        FileNotFoundError,
        match=r'no ImageSets/Context/val.txt, no '
        r'normals_distill\.\nExpected:\n',
    ):
        convert_pascal_context(root, tmp_path / 'out')


def test_the_command_and_a_second_run(release, tmp_path, run):
    root, _ = release
    (root / 'JPEGImages' / f'{VAL[0]}.jpg').unlink()

    convert = partial(run, 'convert-data', 'pascal_context', root, '--out-dir', tmp_path / 'out')
    said = convert('--num-workers', 0, '--allow-missing')
    assert f'JPEGImages/{VAL[0]}.jpg' in said
    assert (tmp_path / 'out' / 'gt_sets' / 'val.txt').read_text() == f'{VAL[1]}\n'
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').glob('*/*.*g')}
    said = convert('--num-workers', 0, '--allow-missing')
    assert '4 frames, 0 of them converted now' in said
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').glob('*/*.*g')}
    for options, words in (
        (['--normals-of-every-class'], 'normals_of_every_class = False, now True'),
        (['--normals-convention', 'sideways'], 'sideways'),
    ):
        assert words in convert(*options, status=1)


def test_a_list_leads_to_nothing_outside(release, tmp_path):
    root, _ = release
    (path,) = root.rglob('val.txt')
    path.write_text(f'{VAL[0]}\n../../{VAL[1]}\n')
    with pytest.raises(ValueError, match=r"contains '\.\.'"):
        convert_pascal_context(root, tmp_path / 'out', num_workers=0)
    assert not (tmp_path / 'out').exists()
