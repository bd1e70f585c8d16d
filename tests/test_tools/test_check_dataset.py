"""The check of a data set, run as a user runs it."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from m2h_mm.tasks.files import write_array

CONFIG = """
test_dataloader = dict(dataset=dict(
    type='MultiTaskDataset', data_root={root!r}, split='val',
    tasks=dict(semseg=dict(num_classes=3), depth=dict(), edge=dict())))
"""


@pytest.fixture
def check(run, monkeypatch):
    """``check(*arguments, status=0)``: what the command printed."""
    monkeypatch.setenv('COLUMNS', '160')
    return partial(run, 'check-data')


@pytest.fixture
def root(tmp_path) -> Path:
    """Eight frames of train and two of val. Half of a map is class 0, half class 2."""
    for index in range(10):
        name, half = (
            f'{index}.png',
            np.repeat(np.array([[0], [2]], np.uint8), 8, axis=0).repeat(16, axis=1),
        )
        write_array(np.zeros((16, 16, 3), np.uint8), tmp_path / 'images' / name)
        write_array(half, tmp_path / 'segmentation' / name)
        write_array(
            np.where(half == 0, np.float32(2.5), np.float32(0)), tmp_path / 'depth' / f'{index}.npy'
        )
        write_array(half // 2 * np.uint8(255), tmp_path / 'edge' / name)
    (tmp_path / 'gt_sets').mkdir()
    (tmp_path / 'gt_sets' / 'train.txt').write_text('\n'.join('01234567'))
    (tmp_path / 'gt_sets' / 'val.txt').write_text('8\n9\n')
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(tmp_path)))
    return tmp_path


def rows(said: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip('│┃ ').split('│')]
        for line in said.split('\n')
        if '│' in line
    ]


def test_tables_and_warnings_end_well(check, root):
    said = check('--config', root / 'config.py')
    table = rows(said)
    assert ['depth', 'train', '8 of 8', '50.0%', '2.500'] in table
    assert ['edge', 'val', '2 of 2', '100.0%', '0.500'] in table
    assert ['2', '2', '50.000%', '50.000%'] in table and ['1', '1', '0', '0'] in table
    assert '1 x class of semseg that never occurs in train' in said and 'Errors' not in said
    assert f'{root}: 0 errors, 2 warnings' in said


def test_errors_are_named_up_to_a_limit(check, root):
    for index in range(8):
        (root / 'depth' / f'{index}.npy').write_bytes(b'')
    said = check('--config', root / 'config.py', status=1)
    assert '8 x depth label that cannot be used' in said and 'and 3 more' in said
    assert said.count('zero bytes') == 5 and said.index('Warnings') < said.index(
        'Errors: training fails'
    )
    said = check('--config', root / 'config.py', '--limit', 0, status=1)
    assert all(f'{root / "depth" / str(index)}.npy cannot be read' in said for index in range(8))


def test_one_split_alone_and_a_split_that_is_not_there(check, root):
    (root / 'depth' / '0.npy').write_bytes(b'')
    said = check('--config', root / 'config.py', '--split', 'val')
    assert ['depth', 'val', '2 of 2', '50.0%', '2.500'] in rows(said) and 'train' not in said
    assert 'gt_sets/test.txt' in check('--config', root / 'config.py', '--split', 'test', status=1)


def test_a_named_data_set(check, root, tmp_path):
    (root / 'gt_sets' / 'train.txt').unlink()
    said = check(root, '--dataset', 'nyud', status=1)
    assert 'list of frames that is missing or empty' in said and 'train.txt' in said
    assert 'no frame of val has a label' in said and 'night stand' in said
    assert 'there are no images' in check(tmp_path / 'nowhere', '--dataset', 'nyud', status=1)
    assert 'needs ROOT' in check('--dataset', 'nyud', status=2)


def test_a_mixture_is_checked_part_by_part(check, root):
    config = root / 'mixed.py'
    config.write_text(
        "part = dict(type='MultiTaskDataset', data_root='a', tasks=['depth'])\n"
        "test_dataloader = dict(dataset=dict(type='MixedDataset', "
        'datasets=dict(a=part)))\n'
    )
    assert 'one by one' in check('--config', config, status=1)


def test_the_command_line_states_how_files_are_read(check, root):
    config = ('--config', root / 'config.py')
    said = check(*config, '--label-format', 'depth.unti=mm', status=1)
    assert 'label_formats.depth.unti' in said
    said = check(*config, '--label-format', 'depth.unit=cm')
    assert ['depth', 'val', '2 of 2', '50.0%', '0.025'] in rows(said)
    assert '0 errors, 2 warnings' in said
    assert 'TASK.KEY=VALUE' in check(*config, '--label-format', 'unit=mm', status=1)
    assert 'KEY=VALUE' in check(*config, '--label-format', 'depth.unit', status=2)
