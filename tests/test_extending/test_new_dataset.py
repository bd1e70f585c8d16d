"""A new data set is one file and a config."""

import cv2
import numpy as np
import pytest

FILES_TOUCHED = 1
MODULE = '''
from pathlib import Path

from m2h_mm.datasets import MultiTaskDataset
from m2h_mm.registry import DATASETS


@DATASETS.register_module()
class Shelf(MultiTaskDataset):
    """Pictures <id>.png with their depth <id>.npy beside them; every third is for validation,
    of which the camera is not known.
    """

    def load_data_list(self):
        pictures = sorted(Path(self.data_root).glob('*.png'))
        held_out = pictures[::3]
        camera = {} if self.split == 'val' else dict(camera=(50.0, 50.0, 20.5, 13.5))
        return [dict(img_path=str(picture), frame_id=picture.stem,
                     label_paths=dict(depth=str(picture.with_suffix('.npy'))), **camera)
                for picture in pictures if (picture in held_out) == (self.split == 'val')]
'''
CONFIG = """
_base_ = '{base}'
custom_imports = dict(imports=['my_shelf'])
shelf = dict(_delete_=True, type='Shelf', data_root='FOLDER')
train_dataloader = dict(
    dataset=dict(**shelf, split='train', pipeline={{{{_base_.train_pipeline}}}}))
val_dataloader = dict(dataset=dict(**shelf, split='val', pipeline={{{{_base_.test_pipeline}}}}))
test_dataloader = val_dataloader
default_hooks = dict(checkpoint=dict(save_best='depth/rmse'))
"""


@pytest.fixture
def folder(tmp_path):
    """Six frames; one pixel of each depth was not measured."""
    rng = np.random.default_rng(0)
    (tmp_path / 'shelf').mkdir()
    for index in range(6):
        picture = rng.integers(0, 256, (28, 42, 3)).astype(np.uint8)
        depth = rng.uniform(1, 4, (28, 42)).astype(np.float32)
        depth[3, 5] = 0
        cv2.imwrite(str(tmp_path / 'shelf' / f'{index}.png'), picture)
        np.save(tmp_path / 'shelf' / f'{index}.npy', depth)
    return tmp_path / 'shelf'


def test_a_data_set_of_ones_own(extend, folder):
    run = extend('my_shelf', MODULE, CONFIG.replace('FOLDER', str(folder)), data={})
    assert run.files_touched == FILES_TOUCHED
    assert [run.train_set.get_data_info(index)['frame_id'] for index in range(4)] == list('1245')
    sample = run.train_set[0]['data_samples']
    assert 'gt_depth' in sample and 'gt_semseg' not in sample
    assert int((~sample.gt_depth.valid).sum()) == 1
    # What it has no labels for is neither trained nor measured; depth is both.
    assert all(logged['raw_semseg'] == 0 < logged['raw_depth'] for logged in run.logged)
    assert run.scores['depth/rmse'] > 0 and np.isnan(run.scores['semseg/mIoU'])
