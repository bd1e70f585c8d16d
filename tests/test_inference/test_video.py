"""Videos in and out."""

import numpy as np
import pytest

from m2h_mm.inference.video import VideoReader, VideoWriter

COLOURS = np.linspace(40, 220, 20).astype(np.uint8)


@pytest.fixture
def video(tmp_path):
    """20 frames, each of one colour."""
    path = tmp_path / 'video.mp4'
    with VideoWriter(path, 10) as writer:
        for value in COLOURS:
            writer.write(np.full((48, 64, 3), (value, 128, 255 - value), np.uint8))
    return path


def test_frames_come_back_in_order_and_in_colour(video, tmp_path):
    reader = VideoReader(video)
    assert (reader.total, reader.fps) == (20, 10)
    frames = list(reader)
    assert len(frames) == 20 and reader.broken == 0
    for frame, value in zip(frames, COLOURS, strict=True):
        assert np.abs(frame.reshape(-1, 3).mean(0) - (value, 128, 255 - value)).max() < 6
    assert [path.name for path in tmp_path.iterdir()] == ['video.mp4']


def test_broken_frames_are_passed_over_and_counted(video):
    data = bytearray(video.read_bytes())
    start = data.index(b'mdat') + 4
    third = (data.index(b'moov') - start) // 3
    data[start + third : start + 2 * third] = b'\x55' * third
    video.write_bytes(data)
    reader = VideoReader(video)
    whole = len(list(reader))
    assert 0 < whole < 20 and reader.broken == 20 - whole


def test_what_is_no_video_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no video'):
        VideoReader(tmp_path / 'lost.mp4')
    path = tmp_path / 'text.mp4'
    path.write_text('not a video')
    with pytest.raises(ValueError, match='text.mp4 cannot be opened'):
        VideoReader(path)
    with pytest.raises(ValueError, match='There is no camera 77'):
        VideoReader('77')


def test_a_video_is_whole_or_not_there(tmp_path):
    path = tmp_path / 'new' / 'video.mp4'
    frame = np.zeros((33, 45, 3), np.uint8)
    with pytest.raises(ValueError, match='one size'), VideoWriter(path, 10) as writer:
        writer.write(frame)
        writer.write(frame[:20])
    assert not list(path.parent.iterdir())
    with VideoWriter(path, 10) as writer:
        writer.write(frame)
    assert next(iter(VideoReader(path))).shape == (32, 44, 3)
    with pytest.raises(ValueError, match='ends in .mp4'):
        VideoWriter(tmp_path / 'video.avi', 10)
