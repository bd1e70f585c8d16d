"""MultiTaskCityscapesDataset: its classes, and what the transforms do with disparity and depth
together.
"""

from pathlib import Path

import numpy as np
import pytest
from label_fields import plain

from m2h_mm.datasets import MultiTaskCityscapesDataset
from m2h_mm.datasets.converters.cityscapes import convert_cityscapes
from m2h_mm.engine.config import load_config
from m2h_mm.registry import DATASETS

CONFIGS = Path(__file__).parents[2] / 'configs'
LOAD = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels')]


@pytest.fixture
def converted(make_cityscapes, tmp_path) -> Path:
    convert_cityscapes(make_cityscapes(), tmp_path / 'out', (24, 48), num_workers=0)
    return tmp_path / 'out'


def first(root: Path, *steps: dict) -> dict:
    return plain(MultiTaskCityscapesDataset(root, pipeline=[*LOAD, *steps])[0])


def test_classes_are_named(converted):
    data = MultiTaskCityscapesDataset(converted)
    assert list(data.tasks) == ['semseg', 'depth', 'disparity', 'edge']
    assert (
        data.metainfo['classes'][:2] == ('road', 'sidewalk') and len(data.metainfo['palette']) == 19
    )
    (converted / 'converter.json').unlink()
    seven = MultiTaskCityscapesDataset(
        converted, tasks=dict(semseg=dict(num_classes=7)), lazy_init=True
    ).metainfo
    assert seven['classes'][:2] == ('flat', 'construction') and len(seven['palette']) == 7


@pytest.mark.parametrize(
    ('num_classes', 'said'),
    [(40, r'Cityscapes has \[7, 19\], got 40'), (7, 'was converted to 19 classes.*--classes 7')],
)
def test_other_classes_than_the_files_have_are_refused(converted, num_classes, said):
    with pytest.raises(ValueError, match=said):
        MultiTaskCityscapesDataset(converted, tasks=dict(semseg=dict(num_classes=num_classes)))


def test_a_zoom_keeps_disparity_times_depth(converted):
    before = first(converted)
    after = first(converted, dict(type='RandomZoom', scale_range=(1.5, 1.5)))
    both = after['gt_depth'] > 0
    product = (after['gt_depth'] * after['gt_disparity'])[both]
    assert both.sum() > 100
    np.testing.assert_allclose(product, 0.209313 * 2262.52, rtol=1e-5)
    assert after['gt_disparity'].max() == pytest.approx(1.5 * before['gt_disparity'].max())


def test_a_resize_and_a_flip_change_no_disparity(converted):
    before = first(converted)['gt_disparity']
    np.testing.assert_array_equal(
        first(converted, dict(type='Resize', size=(12, 24)))['gt_disparity'], before[1::2, 1::2]
    )
    np.testing.assert_array_equal(
        first(converted, dict(type='RandomFlip', prob=1.0))['gt_disparity'], before[:, ::-1]
    )


@pytest.mark.parametrize('loader', ['train_dataloader', 'val_dataloader'])
def test_the_pipeline_of_the_config(converted, loader):
    cfg = load_config(CONFIGS / '_base_' / 'datasets' / 'cityscapes.py')[loader].dataset
    packed = DATASETS.build({**cfg, 'data_root': str(converted), '_scope_': 'm2h_mm'})[0]
    sample, size = packed['data_samples'], tuple(packed['inputs'].shape[1:])
    for field in ('gt_semseg', 'gt_disparity', 'gt_edge'):
        assert tuple(sample.get(field).data.shape) == (1, *size)
    assert 'gt_depth' not in sample
    if loader == 'train_dataloader':
        assert sample.pad_to == (504, 1008)
    else:
        assert size == (24, 48) and 'pad_to' not in sample
    assert (sample.gt_disparity.data > 0).any()


def test_no_data_is_said_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match='m2h-mm convert-data cityscapes'):
        MultiTaskCityscapesDataset(tmp_path)
