"""Cameras of images that are predicted."""

import logging

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image

from m2h_mm.inference.image_cameras import intrinsics_of, require_camera
from m2h_mm.inference.inferencer import M2HInferencer

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
OPTIONS = {'model.data_preprocessor.canonical_focal': 50.0}


@pytest.fixture
def inferencer(tiny):
    return M2HInferencer(tiny[1], device='cpu', show_progress=False, options=OPTIONS)


@pytest.fixture
def warnings():
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def depth_of(inferencer, camera):
    inferencer.camera = camera
    return inferencer(IMAGE, tasks='depth')['predictions'][0]['depth']


def test_depth_is_in_proportion_to_the_focal_length(inferencer, warnings):
    near, far = (depth_of(inferencer, (f, f, 25, 18)) for f in (30, 60))
    inside = (near > 1e-3) & (far < 10)
    assert inside.mean() > 0.5 and not warnings
    np.testing.assert_allclose(far[inside], 2 * near[inside], rtol=1e-5)
    of_view = depth_of(inferencer, 60.0)
    np.testing.assert_allclose(depth_of(inferencer, None), of_view, rtol=1e-6)
    depth_of(inferencer, None)
    assert len(warnings) == 1 and 'scale is a guess' in warnings[0] and '--fov' in warnings[0]


def test_a_photo_s_own_notes_are_taken(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28
    Image.fromarray(IMAGE).save(tmp_path / 'noted.jpg', exif=exif)
    noted = intrinsics_of(None, tmp_path / 'noted.jpg', (37, 50))
    assert noted[0, 0] == pytest.approx(28 * np.hypot(37, 50) / np.hypot(36, 24))
    assert intrinsics_of(90.0, tmp_path / 'noted.jpg', (37, 50))[0, 0] == pytest.approx(25)
    assert intrinsics_of(None, IMAGE, (37, 50)) is None


@pytest.mark.parametrize('camera', [(1, 2, 3), 180.0, (0, 1, 0, 0), -5])
def test_what_is_no_camera_is_refused(camera):
    with pytest.raises(ValueError, match='camera|fov'):
        require_camera(camera)


def test_a_camera_of_other_images_is_that_image_s_error(inferencer):
    with pytest.raises(ValueError, match='camera'):
        depth_of(inferencer, (1.0, 1.0, 25.0, 18.0))
