import re

import numpy as np
import pytest
import torch
from PIL import Image

from m2h_mm.inference.video import VideoReader, VideoWriter

FRAME = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)


def test_a_folder_of_images_carries_on_past_a_broken_one(run, tiny, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    Image.fromarray(FRAME).save(folder / 'a.png')
    (folder / 'b.png').write_text('no image')
    options = ('--out-dir', tmp_path / 'out', '--tasks', 'depth', '--size', '28x42')
    said = run('predict', folder, tiny[1], *options, status=1)
    assert '1 images failed' in said and 'b.png is no image' in said
    assert {path.name for path in (tmp_path / 'out').rglob('*.*')} == {'a.png', 'a.npy'}


def test_mistakes_are_one_message(run, tiny, tmp_path):
    said = run('predict', tmp_path / 'nothing', tiny[1], status=1)
    assert 'there is no file or folder' in said and 'Traceback' not in said
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), tmp_path / 'bare.pth')
    said = run('predict', tmp_path, tmp_path / 'bare.pth', status=1)
    assert 'Pass the config' in said and 'Traceback' not in said
    run('predict', tmp_path, tiny[1], '--size', 'big', status=2)


@pytest.mark.parametrize(
    ('options', 'size'),
    [
        ((), (2 * 44, 3 * 64)),
        (('--tasks', 'depth', '--no-image'), (44, 64)),
        (('--tasks', 'edge', '--stabilise'), (44, 128)),
    ],
)
def test_a_video_of_maps(run, tiny, tmp_path, options, size):
    with VideoWriter(tmp_path / 'in.mp4', 10) as writer:
        for shift in range(4):
            writer.write(np.roll(FRAME, shift, axis=1))
    out = tmp_path / 'out.mp4'
    said = run(
        'video',
        tmp_path / 'in.mp4',
        tiny[1],
        '--out',
        out,
        '--panel-width',
        '64',
        '--max-frames',
        '3',
        *options,
    )
    assert '3 frames, ' in said and 'frames/s' in said
    frames = list(VideoReader(out))
    assert len(frames) == 3 and frames[0].shape == (*size, 3)


@pytest.fixture
def walk(tmp_path):
    path = tmp_path / 'walk.mp4'
    with VideoWriter(path, 5) as writer:
        for _ in range(2):
            writer.write(FRAME)
    return path


class Camera:
    """In the place of OpenCV's: gives frames as fast as they are read, for ever."""

    def isOpened(self) -> bool:
        return True

    def get(self, key: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, np.ndarray]:
        return True, FRAME

    def release(self) -> None:
        pass


def test_a_camera_drops_what_the_network_has_no_time_for(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(VideoReader, '_open', lambda self: Camera())
    out = tmp_path / 'out.mp4'
    options = ('--tasks', 'depth', '--max-frames', 3, '--panel-width', 64, '--out', out)
    said = run('video', 0, tiny[1], *options, '--max-rate', 100)
    assert '3 frames, ' in said and 'From a frame to its maps: median ' in said
    dropped = re.search(r'(\d+) frames of the camera came while', said)
    assert int(dropped[1]) > 0


def test_a_file_has_its_own_rate(run, tiny, walk):
    options = ('--out', walk.with_name('out.mp4'), '--max-rate', 2)
    assert 'it is for cameras' in run('video', walk, tiny[1], *options, status=1)


def test_a_video_does_not_take_the_place_of_its_input(run, tiny, walk):
    before = walk.read_bytes()
    for options in ((), ('--overwrite',)):
        said = run('video', walk, tiny[1], '--out', walk, *options, status=1)
        assert 'is read by this command' in said
    assert walk.read_bytes() == before


def test_an_interrupted_video_leaves_nothing(run, tiny, walk, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr('m2h_mm.inference.video_panels.draw_panels', interrupt)
    said = run('video', walk, tiny[1], '--out', walk.with_name('out.mp4'), status=130)
    assert 'Interrupted after 0 frames: nothing was written' in said
    assert list(walk.parent.iterdir()) == [walk]
