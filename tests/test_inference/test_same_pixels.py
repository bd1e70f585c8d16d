"""The same photo through training's loader, the test loop, the inferencer, the ONNX runner and the
page: the same pixels.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from image_kinds import KINDS
from mmengine.dataset import Compose

from m2h_mm.cli.web.results import FORMATS, UploadError, read_upload
from m2h_mm.datasets.transforms import LoadMultiTaskImage, PackMultiTaskInputs
from m2h_mm.inference import M2HInferencer, Prediction
from m2h_mm.structures.image_file import read_image
from m2h_mm.visualization import frame_image

RUNNER = Path(__file__).resolve().parents[2] / 'tools' / 'deployment' / 'run_onnx.py'


@pytest.fixture(scope='module')
def runner():
    pytest.importorskip('onnxruntime')
    spec = importlib.util.spec_from_file_location('run_onnx', RUNNER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Looking(M2HInferencer):
    """An inferencer that hands back what its network would be given."""

    def __init__(self) -> None:
        self.tasks, self.camera, self.stabiliser = {}, None, None

    def _predict(self, batch: list[Prediction], *options) -> list[Prediction]:
        return batch


@pytest.mark.parametrize('name', KINDS)
def test_one_photo_has_the_same_pixels_everywhere(tmp_path, runner, name):
    path = tmp_path / name
    path.write_bytes(KINDS[name][0])
    expected = read_image(path)

    packed = Compose([LoadMultiTaskImage(), PackMultiTaskInputs()])(dict(img_path=str(path)))
    loaded = packed['inputs'].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(loaded, expected)
    # What the test loop draws beside its maps, where the network saw the frame smaller.
    smaller = torch.zeros(3, 4, 5, dtype=torch.uint8)
    np.testing.assert_array_equal(frame_image(packed['data_samples'], smaller), expected)

    inferencer = Looking()
    for source in (path, [path.read_bytes()], [path.open('rb')]):
        (prediction,) = inferencer.stream(inferencer.list_inputs(source))
        np.testing.assert_array_equal(prediction.image, expected)

    np.testing.assert_array_equal(np.asarray(runner.read_image(path)), expected)

    if path.suffix.lower() in ('.tif', '.pgm', '.ppm'):
        with pytest.raises(UploadError, match=f'expected {FORMATS[0]}'):
            read_upload(path)
    else:
        np.testing.assert_array_equal(read_upload(path), expected)


def test_one_bad_image_does_not_stop_the_others(tmp_path, runner):
    """Whatever its decoder raises: an AVIF without an image, a DDS by another name, text."""
    names = ['a.png', 'b.png', 'c.jpg', 'd.tif', 'z.png']
    contents = [
        KINDS['plain.png'][0],
        b'\0\0\0 ftypavif\0\0\0\0avifmif1miafMA1B\0\0\0\xebmeta' + bytes(300),
        b'DDS |\0\0\0\x0f\x10\0\0\x18\0\0\0 \0\0\0`' + bytes(300),
        KINDS['float.tif'][0][:200],
        KINDS['alpha.png'][0],
    ]
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    inferencer = Looking()
    predictions = list(inferencer.stream(inferencer.list_inputs(tmp_path)))
    assert [prediction.name for prediction in predictions] == ['a', 'b', 'c', 'd', 'z']
    assert [prediction.error is None for prediction in predictions] == [True, *[False] * 3, True]
    for name in names[1:4]:
        with pytest.raises(ValueError, match='not an image that can be read'):
            runner.read_image(tmp_path / name)
