"""Lists, tables and damaged files of Hypersim."""

import h5py
import numpy as np
import pytest

from m2h_mm.datasets.converters.hypersim import CAMERA_CSV, SPLIT_CSV, convert_frame, list_frames

from .conftest import FRAMES, ROWS, file_of, noise, save


def test_lists_follow_the_official_split_and_the_options(make_hypersim, convert):
    root = make_hypersim()
    out, _ = convert(root)
    assert {path.stem: path.read_text().split() for path in (out / 'gt_sets').iterdir()} == FRAMES
    assert [
        frame.frame_id
        for frame in list_frames(root, splits=['val', 'test'], scenes=['ai_002_*', 'ai_001_001'])
    ] == FRAMES['test']
    with pytest.raises(ValueError, match=r"the splits \['val'\] and the scenes \['ai_002_001'\]"):
        list_frames(root, splits=['val'], scenes=['ai_002_001'])


def test_a_second_run_does_nothing_and_other_settings_are_refused(make_hypersim, convert):
    root = make_hypersim()
    out, said = convert(root)
    assert '5 frames, 5 of them converted now' in said
    before = {
        path: path.stat().st_mtime_ns
        for folder in ('images', 'depth', 'normals', 'edge', 'segmentation')
        for path in (out / folder).iterdir()
    }
    _, said = convert(root)
    assert '5 frames, 0 of them converted now' in said
    assert before == {path: path.stat().st_mtime_ns for path in before} and len(before) == 25
    _, said = convert(root, '--untilt', status=1)
    assert 'untilt = False, now True' in said


@pytest.mark.parametrize(
    'kind',
    ['color', 'depth_meters', 'normal_cam', 'render_entity_id', 'semantic', 'semantic_instance'],
)
@pytest.mark.parametrize('damage', ['missing', 'empty', 'cut', 'inside', 'shape', 'name'])
def test_a_damaged_file_is_named_and_the_other_frames_are_kept(
    make_hypersim, convert, kind, damage
):
    root = make_hypersim()
    path = file_of(root, ROWS[4], kind)
    content = bytearray(path.read_bytes())
    if damage == 'missing':
        path.unlink()
    elif damage == 'shape':
        save(path, np.ones((3, 4)))
    elif damage == 'name':
        with h5py.File(path, 'a') as file:
            file.move('dataset', 'other')
    else:
        with h5py.File(path) as file:
            offset = file['dataset'].id.get_chunk_info(0).byte_offset
        content[offset + 4 : offset + 12] = b'\xff' * 8
        path.write_bytes(
            {'empty': b'', 'cut': content[: len(content) // 2], 'inside': content}[damage]
        )
    out, said = convert(root, status=1)
    said = said.replace('\n', '')
    assert str(path) in said and 'other 4 of 5 frames' in said and 'Traceback' not in said
    assert not (out / 'gt_sets').exists()
    out, _ = convert(root, '--allow-missing')
    assert (out / 'gt_sets' / 'train.txt').read_text().split() == FRAMES['train']
    save(path, noise(4)[kind])
    _, said = convert(root)
    assert '5 frames, 1 of them converted now' in said


@pytest.mark.parametrize('label', [0, 41, -2])
def test_unknown_classes_are_refused(make_hypersim, label):
    root = make_hypersim()
    stored = noise(3)['semantic']
    stored[4, 5] = label
    save(file_of(root, ROWS[3], 'semantic'), stored)
    with pytest.raises(
        ValueError,
        match=rf'semantic\.hdf5 holds the ids \[{label}\]; expected -1 '
        r'and 1\.\.40',
    ):
        convert_frame(list_frames(root, splits=['val'])[0].source)


@pytest.mark.parametrize('name', [SPLIT_CSV, CAMERA_CSV])
def test_tables_that_are_missing_or_wrong_are_named(make_hypersim, convert, name):
    root = make_hypersim()
    text = (root / name).read_text()
    (root / name).write_text('scene_name,nothing\n')
    with pytest.raises(ValueError, match=name):
        list_frames(root)
    (root / name).unlink()
    with pytest.raises(
        FileNotFoundError,
        match=rf'(?s)no table .*{name}.*Expected '
        r'layout.*ai_VVV_NNN',
    ):
        list_frames(root)
    (root.parent / 'table.csv').write_text(text)
    option = '--split-csv' if name == SPLIT_CSV else '--camera-csv'
    convert(root, option, str(root.parent / 'table.csv'))


@pytest.mark.parametrize(
    ('old', 'new'), [('0.578', ''), ('0.578', 'x'), ('0.578', '-0.578'), ('-1.0015', '1.0015')]
)
def test_cameras_that_are_none_are_named(make_hypersim, old, new):
    root = make_hypersim()
    table = root / CAMERA_CSV
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf'{CAMERA_CSV}: scene ai_001_002 has no usable camera'):
        list_frames(root)


def test_scenes_that_are_not_there_are_told(make_hypersim, tmp_path):
    root = make_hypersim()
    with pytest.raises(
        FileNotFoundError,
        match=r'(?s)ai_001_001, is in .*elsewhere.*Expected '
        r'layout',
    ):
        list_frames(tmp_path / 'elsewhere', root / SPLIT_CSV, root / CAMERA_CSV)


@pytest.mark.parametrize(
    ('old', 'new', 'reason'),
    [
        ('ai_001_001', '../elsewhere', "contains '..'"),
        ('ai_001_001', '/etc', 'an absolute path'),
        ('cam_01', '../cam_01', "contains '..'"),
        (',3,', ',../3,', "frame_id, got '../3'"),
        (',val', '', 'is cut off'),
    ],
)
def test_a_table_leads_to_nothing_outside(make_hypersim, old, new, reason):
    root = make_hypersim()
    table = root / SPLIT_CSV
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=reason):
        list_frames(root)


def test_scenes_may_be_links_and_tables_from_any_system(make_hypersim, tmp_path):
    root = make_hypersim()
    expected = [frame.frame_id for frame in list_frames(root)]
    (root / 'ai_001_001').rename(tmp_path / 'moved')
    (root / 'ai_001_001').symlink_to(tmp_path / 'moved')
    table = root / SPLIT_CSV
    table.write_text(table.read_text(), encoding='utf-8-sig', newline='\r\n')
    assert [frame.frame_id for frame in list_frames(root)] == expected
