import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def image(tmp_path):
    path = tmp_path / 'room.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)).save(
        path
    )
    return path


@pytest.mark.parametrize(
    ('options', 'camera'),
    [
        ((), 'fx 38.1, fy 38.1, cx 21.5, cy 14.5, from an assumed view of 60 degrees'),
        (('--fov', '90', '--colour', 'semseg'), 'fx 22.0, fy 22.0'),
        (
            ('--intrinsics', '30', '31', '20', '15'),
            'fx 30.0, fy 31.0, cx 20.0, cy 15.0, from --intrinsics',
        ),
        (
            ('--intrinsics', '40', '40', '90', '15'),
            'pixels: its centre lies far from the middle, says --intrinsics. Is that so?',
        ),
    ],
)
def test_the_camera_is_chosen_and_said(run, tiny, image, tmp_path, options, camera):
    out = ('--out', tmp_path / 'room.ply', '--max-edge', 1)
    said = run('pointcloud', image, tiny[1], *out, *options)
    assert camera in said and 'of 1320 pixels' in said
    assert (tmp_path / 'room.ply').read_bytes().startswith(b'ply\n')


def test_a_picture_is_drawn_when_asked_for(run, tiny, image, tmp_path):
    picture = tmp_path / 'new' / 'room.png'
    out = ('--out', tmp_path / 'room.ply', '--max-edge', 1)
    run('pointcloud', image, tiny[1], *out, '--picture', picture)
    assert Image.open(picture).size == (640, 480)


def test_mistakes_are_one_message(run, tiny, image, tmp_path):
    (tmp_path / 'text.png').write_text('no image')
    for name, message in (('lost.png', 'There is no image'), ('text.png', 'is no image')):
        out = ('--out', tmp_path / 'room.ply')
        said = run('pointcloud', tmp_path / name, tiny[1], *out, status=1)
        assert message in said and 'Traceback' not in said
    for camera in (('--intrinsics', 1, 1, 2, 'inf'), ('--intrinsics', 0, 1, 2, 3), ('--fov', 178)):
        said = run('pointcloud', image, tiny[1], *out, *camera, status=1)
        assert 'expected' in said and 'Traceback' not in said
    assert not (tmp_path / 'room.ply').exists()
