"""A new task of three channels is one file and a config."""

import numpy as np
import torch
from mmengine.structures import PixelData

from m2h_mm.structures import Label
from m2h_mm.tasks.keys import Scale, Tiles
from m2h_mm.tasks.shown import Map, Shown
from m2h_mm.tasks.view import View, build_view
from m2h_mm.visualization import MultiTaskVisualizer
from m2h_mm.visualization.comparison import draw_comparison
from m2h_mm.visualization.drawing import HATCH_DARK, HATCH_LIGHT
from m2h_mm.visualization.error_maps import paint

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

    check_pictures(task, samples[0])


def check_pictures(task, sample):
    """The default view draws label and prediction with a key, and what is wrong."""
    view = build_view(task)
    assert type(view) is View
    size = sample.gt_albedo.data.shape[1:]
    label = np.ones((*size, 3), np.float32)
    label[4:] = 0
    known = np.ones(size, bool)
    known[0] = False
    channels, scale = view.key(Shown(truth=Map(label, known)))
    assert isinstance(channels, Tiles) and isinstance(scale, Scale)
    sample.gt_albedo = PixelData(
        data=torch.from_numpy(label).permute(2, 0, 1), valid=torch.from_numpy(known)[None]
    )
    sample.pred_albedo = PixelData(data=torch.full((3, *size), 0.5))

    def count(picture, colour):
        return int((picture == np.asarray(colour, np.uint8)).all(axis=-1).sum())

    image = np.full((*size, 3), 77, np.uint8)
    picture = MultiTaskVisualizer(panel_size=64).draw_frame(image, sample, {'albedo': task})
    pixels = size[0] * size[1] * (64 // max(size)) ** 2
    row = pixels // size[0]
    # Black is drawn as black; only the row that is not known is hatched.
    assert count(picture, (0, 0, 0)) >= pixels - 4 * row
    assert count(picture, (128, 128, 128)) >= pixels
    assert row <= count(picture, HATCH_DARK) + count(picture, HATCH_LIGHT) < 2 * row + 400

    runs = {'right': {'albedo': label}, 'grey': {'albedo': np.full_like(label, 0.5)}}
    truth = Label(label, known)
    assert np.nanmax(task.error(runs['right']['albedo'], truth)) == 0
    picture = draw_comparison(image, {'albedo': task}, {'albedo': truth}, runs, panel_size=64)
    errors = paint(np.array([0.0, 0.5]), 0.5)
    for colour in errors:
        assert count(picture, colour[:3]) >= pixels - row
