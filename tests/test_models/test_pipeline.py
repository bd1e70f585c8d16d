"""From images to the network's input, and from outputs to maps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from m2h_mm.geometry.pinhole import backproject
from m2h_mm.geometry.resampling import resample, resampling_taps
from m2h_mm.models.data_preprocessor import MultiTaskDataPreprocessor
from m2h_mm.models.multitask_model import stack_cameras
from m2h_mm.models.pipeline import (
    MAX_INPUT_PIXELS,
    Framing,
    ImagePipeline,
    check_size,
    limit_area,
    scale_to_area,
)
from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.tasks import build_tasks

PLAIN = dict(mean=(0, 0, 0), std=(1, 1, 1))


# ---- resampling
@pytest.mark.parametrize(
    ('shape', 'size'),
    [
        ((768, 1024), (480, 640)),
        ((37, 50), (42, 56)),
        ((501, 333), (480, 319)),
        ((40, 300), (20, 400)),
        ((1, 1), (3, 5)),
        ((9, 7), (1, 1)),
    ],
)
def test_resampling_is_torch_s_in_double_precision(shape, size):
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)).double() * 255
    expected = F.interpolate(images, size=size, mode='bilinear', antialias=True)
    torch.testing.assert_close(resample(images, size), expected, atol=1e-9, rtol=0)
    # In single precision the weights are rounded once: 2^-24 of 255, for each of two passes.
    error = (resample(images.float(), size) - expected).abs().max()
    assert error < 255 * 2**-20


def test_resampling_takes_grey_values_as_they_are_and_keeps_constants():
    image = torch.full((3, 30, 41), 200, dtype=torch.uint8)
    assert resample(image, (30, 41)).dtype == torch.float32
    torch.testing.assert_close(resample(image, (7, 13)), torch.full((3, 7, 13), 200.0))
    positions, weights = resampling_taps(100, 30)
    assert positions.min() == 0 and positions.max() == 99
    np.testing.assert_allclose(weights.sum(axis=0), 1)


# ---- sizes
def test_an_image_gets_the_area_that_the_model_knows():
    pipeline = ImagePipeline(size=(480, 640))
    assert pipeline.input_size((768, 1024)) == (480, 640)
    assert pipeline.input_size((480, 640)) == (480, 640)
    assert pipeline.input_size((640, 480)) == (640, 480)
    assert pipeline.input_size((3000, 4000)) == (480, 640)
    assert pipeline.input_size((240, 320)) == (480, 640)
    height, width = pipeline.input_size((1080, 1920))
    assert height * width == pytest.approx(480 * 640, rel=0.005)
    assert width / height == pytest.approx(16 / 9, rel=0.005)


def test_images_of_about_that_area_are_taken_as_they_are():
    pipeline = ImagePipeline(size=(480, 640), keep_within=1.5)
    for size in ((425, 560), (480, 640), (500, 700)):
        assert pipeline.input_size(size) == size
    assert pipeline.input_size((768, 1024)) == (480, 640)


def test_without_a_size_images_are_taken_as_they_are_up_to_a_limit():
    pipeline = ImagePipeline()
    for name in ('test', 'native'):
        assert pipeline.input_size((37, 50), name) == (37, 50)
        height, width = pipeline.input_size((1000, 20000), name)
        assert 0.99 < height * width / MAX_INPUT_PIXELS < 1.01
        assert width / height == pytest.approx(20, rel=0.01)


def test_sizes_that_a_call_may_ask_for():
    pipeline = ImagePipeline(size=(480, 640))
    assert pipeline.input_size((37, 50), 'native') == (37, 50)
    assert pipeline.input_size((37, 50), 'fit') == (42, 56)
    assert pipeline.input_size((3, 900), 'fit') == (14, 896)
    assert pipeline.input_size((37, 50), (28, 42)) == (28, 42)
    assert pipeline.padded_size((37, 50)) == (42, 56)
    assert limit_area((1, 10**9), 100) == (1, 100) and limit_area((900, 2), 300, 14) == (14, 14)
    assert scale_to_area((1, 10**9), 300) == (1, 300)
    for size in ('huge', (0, 5), (3,), 7):
        with pytest.raises(ValueError, match='size: expected'):
            check_size(size)


@pytest.mark.parametrize(
    ('options', 'key'),
    [
        (dict(size=(0, 5)), r'data_preprocessor\.size: expected'),
        (dict(size=480), r'data_preprocessor\.size: expected'),
        (dict(keep_within=0.5), r'data_preprocessor\.keep_within: expected'),
        (dict(size_divisor=0), r'data_preprocessor\.size_divisor: expected'),
        (dict(std=(1, 1, 0)), 'data_preprocessor: expected three numbers'),
    ],
)
def test_settings_that_cannot_be_are_named(options, key):
    with pytest.raises(ValueError, match=key):
        MultiTaskDataPreprocessor(**options)


# ---- images in, maps out
def test_test_time_resizes_and_training_does_not():
    preprocess = MultiTaskDataPreprocessor(**PLAIN, size=(28, 42))
    image = torch.randint(0, 256, (3, 56, 84), dtype=torch.uint8)
    for training, seen in ((True, (56, 84)), (False, (28, 42))):
        out = preprocess(dict(inputs=[image], data_samples=[MultiTaskDataSample()]), training)
        assert tuple(out['inputs'].shape[-2:]) == seen
        assert out['data_samples'][0].framing == Framing((56, 84), seen)
    torch.testing.assert_close(out['inputs'][0], resample(image, (28, 42)))


def test_a_batch_and_a_list_are_prepared_alike():
    pipeline = ImagePipeline(size=(30, 40))
    images = torch.randint(0, 256, (2, 3, 45, 61), dtype=torch.uint8)
    inputs, framings = pipeline.prepare(list(images))
    batch, framing = pipeline.prepare_batch(images)
    assert torch.equal(inputs, batch) and framings == [framing, framing]
    assert framing == Framing((45, 61), (30, 40), (1, 1, 6, 6))


def test_a_map_lies_where_its_image_lies():
    """A head that repeats the image, whatever its size and padding."""
    pipeline = ImagePipeline(**PLAIN, size=(60, 80))
    depth = build_tasks(dict(depth=dict(max_depth=300.0)))['depth']
    rows, columns = torch.meshgrid(torch.arange(90.0), torch.arange(123.0), indexing='ij')
    image = (100 + rows + 0.5 * columns).expand(3, -1, -1)
    inputs, (framing,) = pipeline.prepare([image])
    assert any(framing.padding)
    map = pipeline.finish(depth, inputs[:, :1], framing)
    assert map.shape == (1, 1, 90, 123)
    # At the border half a pixel of the smaller image is missing.
    torch.testing.assert_close(map[0, 0, 2:-2, 2:-2], image[0, 2:-2, 2:-2], atol=0.1, rtol=0)


def test_maps_too_large_for_scores_are_enlarged_when_they_are_finished(monkeypatch):
    monkeypatch.setattr('m2h_mm.models.pipeline.MAX_OUTPUT_PIXELS', 100)
    tasks = build_tasks(dict(semseg=dict(num_classes=3), normals=dict()))
    framing = Framing((40, 30), (14, 14))
    for name, channels in (('semseg', 3), ('normals', 3)):
        output = torch.randn(1, channels, 7, 7)
        map = ImagePipeline().finish(tasks[name], output, framing)
        assert map.shape[-2:] == (40, 30)
        small = ImagePipeline().finish(tasks[name], output, Framing((12, 9), (14, 14)))
        assert map.dtype == small.dtype and set(map.unique().tolist()) <= set(
            small.unique().tolist()
        )


# ---- cameras
def test_the_camera_follows_into_the_network_s_input():
    """What a pixel of the image sees, the pixel of the input that shows it sees too."""
    preprocess = MultiTaskDataPreprocessor(**PLAIN, size=(30, 40))
    camera = np.array([[100.0, 0, 41.0], [0, 110.0, 28.0], [0, 0, 1]])
    sample = MultiTaskDataSample(metainfo=dict(cam2img=camera))
    image = torch.zeros(3, 60, 80, dtype=torch.uint8)
    out = preprocess(dict(inputs=[image], data_samples=[sample]))
    inputs, (sample,) = out['inputs'], out['data_samples']
    np.testing.assert_array_equal(sample.cam2img, camera)  # that of the finished maps
    size = tuple(inputs.shape[-2:])
    seen, known, inside = stack_cameras([sample], size, torch.device('cpu'))
    assert known.all() and int(inside.sum()) == 30 * 40
    left, _, top, _ = sample.framing.padding
    ours = backproject(torch.ones(1, 1, *size), seen)[0]
    theirs = backproject(torch.ones(1, 1, 60, 80), torch.tensor(camera[None]).float())[0]
    # A pixel of the input covers two by two of the image: its centre is the mean of theirs.
    expected = F.avg_pool2d(theirs, 2)
    found = ours[:, top : top + 30, left : left + 40]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
