"""A new task of three channels is one file and a config."""

import numpy as np
import torch

from m2h_mm.structures import Label

FILES_TOUCHED = 1
MAX_CONFIG_LINES = 12
MODULE = '''
import cv2
import numpy as np

from m2h_mm.registry import TASKS
from m2h_mm.structures import Label
from m2h_mm.tasks import Task


@TASKS.register_module('albedo')
class Albedo(Task):
    """The share of light that a surface reflects, red, green and blue in 0..1. Black is legal."""

    folder = 'images'  # no data set here has albedo: the pictures stand in, dark pixels made black
    channels = label_channels = 3
    meaning = 'reflected share of light, 0..1'

    def read(self, path):
        picture = cv2.imread(str(path))[..., ::-1].astype(np.float32) / 255
        albedo = np.where(picture.max(axis=2, keepdims=True) < 0.3, np.float32(0), picture)
        known = np.ones(albedo.shape[:2], bool)
        known[0] = False  # as if the first row had not been measured
        return Label(albedo, known)

    def decode(self, output):
        return output.clamp(0, 1)
'''
CONFIG = """\
_base_ = '{base}'
custom_imports = dict(imports=['my_albedo'])
tasks = dict(albedo=dict())
model = dict(heads=dict(albedo=dict(type='M2HSemsegHead', hidden_channels=(8,))),
             losses=dict(albedo=dict(type='L1Loss')))
pipeline = [dict(type='LoadMultiTaskImage'), dict(type='LoadMultiTaskLabels'),
            dict(type='RandomZoom'), dict(type='RandomCrop', size=(28, 42)),
            dict(type='RandomFlip'), dict(type='Pad', size=(28, 42)),
            dict(type='PackMultiTaskInputs')]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
default_hooks = dict(checkpoint=dict(save_best='albedo/error'))
"""


def test_a_task_of_ones_own(extend):
    run = extend('my_albedo', MODULE, CONFIG)
    assert run.files_touched == FILES_TOUCHED
    assert len(CONFIG.splitlines()) <= MAX_CONFIG_LINES
    task = run.model.tasks['albedo']
    assert (task.kind, task.gt_field, task.pred_field) == ('albedo', 'gt_albedo', 'pred_albedo')
    losses = [logged['raw_albedo'] for logged in run.logged]
    assert len(losses) == 6 and losses[-1] < losses[0]
    # It is scored by its mean error, beside the metrics of the other tasks.
    assert 0 < run.scores['albedo/error'] < 1
    assert {'semseg/mIoU', 'depth/rmse'} <= run.scores.keys()

    # Loaded, zoomed, cropped and flipped: three channels of the image's size, black among them.
    np.random.seed(0)
    frames = [run.train_set[index % len(run.train_set)] for index in range(24)]
    samples = [frame['data_samples'] for frame in frames]
    assert {sample.flip for sample in samples} == {True, False}
    assert len({sample.img_shape for sample in samples}) > 1
    for sample in samples:
        label = sample.gt_albedo
        assert label.data.shape == (3, *sample.img_shape) and label.data.dtype == torch.float32
        assert label.valid.shape == (1, *sample.img_shape)
        assert 0 <= label.data.min() and label.data.max() <= 1
    black = [(sample.gt_albedo.data == 0).all(dim=0) for sample in samples]
    known = [sample.gt_albedo.valid[0] for sample in samples]
    assert any((dark & valid).any() for dark, valid in zip(black, known, strict=True))
    assert not all(valid.all() for valid in known)

    # Black counts in the error like any other colour.
    zeros = np.zeros((4, 5, 3), np.float32)
    label = Label(zeros, np.ones((4, 5), bool))
    error = task.error(zeros + np.float32([0.3, 0, 0]), label)
    np.testing.assert_allclose(error, np.full((4, 5), 0.1), rtol=1e-6)
