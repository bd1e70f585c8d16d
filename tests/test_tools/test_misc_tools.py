"""The commands that draw frames and print configs."""

import runpy
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

BASE = """
pipeline = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels'),
            dict(type='PackMultiTaskInputs')]
tasks = dict(semseg=dict(num_classes=40), depth=dict())
val_dataloader = dict(
    dataset=dict(type='NYUDDataset', data_root={root!r}, split='train', pipeline=pipeline))
"""
CONFIG = """
_base_ = 'base.py'
train_dataloader = dict(dataset=dict(
    type='NYUDDataset', data_root={root!r}, split='train',
    pipeline=[dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels'),
              dict(type='RandomFlip', prob=1.0), dict(type='PackMultiTaskInputs')]))
"""


@pytest.fixture
def config(tmp_path) -> str:
    root = tmp_path / 'data'
    for folder in ('images', 'segmentation', 'depth', 'gt_sets'):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    frame_ids = [f'{index:04d}' for index in range(5)]
    for frame_id in frame_ids:
        cv2.imwrite(
            str(root / 'images' / f'{frame_id}.png'),
            rng.integers(0, 256, (12, 16, 3), dtype=np.uint8),
        )
        cv2.imwrite(
            str(root / 'segmentation' / f'{frame_id}.png'),
            rng.integers(0, 41, (12, 16), dtype=np.uint8),
        )
        np.save(root / 'depth' / f'{frame_id}.npy', rng.uniform(0, 4, (12, 16)).astype(np.float32))
    (root / 'gt_sets' / 'train.txt').write_text('\n'.join(frame_ids))
    (tmp_path / 'base.py').write_text(BASE.format(root=str(root)))
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(root)))
    return str(tmp_path / 'config.py')


def test_browse_draws_frames_spread_over_the_data(run, config, tmp_path):
    said = run('browse', config, '--num', '3', '--out-dir', str(tmp_path / 'out'))
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        '0000.png',
        '0002.png',
        '0004.png',
    ]
    assert f'3 of 5 train frames: {tmp_path / "out"}' in said


def test_browse_shows_a_sequence_in_order(run, config, tmp_path):
    text = Path(config).read_text().replace("'NYUDDataset'", "'SequenceDataset'")
    root = tmp_path / 'data'
    for folder in ('images', 'segmentation', 'depth'):
        for walk in ('desk', 'hall'):
            (root / folder / walk).mkdir()
            for path in (root / folder).glob('*.*'):
                shutil.copy(path, root / folder / walk)
    names = [f'{walk}/{number:04d}' for walk in ('desk', 'hall') for number in range(5)]
    (root / 'gt_sets/train.txt').write_text('\n'.join(names))
    Path(config).write_text(text.replace("split='train'", "split='train', reduce_zero_label=True"))
    out = tmp_path / 'out'
    said = run('browse', config, '--num', '3', '--sequence', 'hall', '--out-dir', str(out))
    assert f'3 of 5 train frames: {out}' in said
    assert [path.name for path in sorted(out.rglob('*.png'))] == [
        '0000.png',
        '0002.png',
        '0004.png',
    ]
    assert {path.parent.name for path in out.rglob('*.png')} == {'hall'}
    said = run('browse', config, '--sequence', 'hal', '--out-dir', str(out), status=1)
    assert "no such sequence. Those that it has: 2, such as 'desk'. Did you mean 'hall'" in said


def test_browse_shows_augmented_frames_unless_told_not_to(run, config, tmp_path):
    for name, flags in dict(train=[], plain=['--no-augment'], val=['--split', 'val']).items():
        run('browse', config, '--num', '1', '--out-dir', str(tmp_path / name), *flags)
    train, plain, val = (
        cv2.imread(str(tmp_path / name / '0000.png')) for name in ('train', 'plain', 'val')
    )
    np.testing.assert_array_equal(plain, val)
    assert (train != plain).any()


def test_browse_reports_errors_in_one_message(run, config, tmp_path):
    error = run('browse', tmp_path / 'nowhere.py', status=1)
    assert 'nowhere.py' in error and 'Traceback' not in error


def test_print_config_resolves_inheritance_and_options(run, config, tmp_path):
    said = run('print-config', config, '--cfg-options', 'tasks.semseg.num_classes=13')
    assert 'num_classes=13' in said and 'RandomFlip' in said and 'val_dataloader' in said
    assert '_base_' not in said
    namespace = runpy.run_path(str(_write(tmp_path / 'printed.py', said)))
    assert namespace['tasks'] == dict(semseg=dict(num_classes=13), depth=dict())
    assert namespace['val_dataloader']['dataset']['tasks'] == namespace['tasks']


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
