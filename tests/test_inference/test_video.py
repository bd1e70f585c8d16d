"""Videos in and out."""

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from full_disk import full_disk

from m2h_mm.inference.prediction import Prediction
from m2h_mm.inference.video import VideoReader, VideoWriter
from m2h_mm.inference.video_panels import draw_panels, panel_size

VIDEOS = Path(__file__).resolve().parents[1] / 'data' / 'videos'
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


def test_a_full_disk_leaves_no_part_of_a_video(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3)).astype(np.uint8)
    with full_disk(3000), pytest.raises(OSError, match='a.mp4 could not be written'):
        with VideoWriter(tmp_path / 'a.mp4', 10) as writer:
            for picture in noise:
                writer.write(picture)
    assert list(tmp_path.iterdir()) == []
    with VideoWriter(tmp_path / 'one.mp4', 10) as writer:
        writer.write(noise[0])
    assert VideoReader(tmp_path / 'one.mp4').total == 1
    with VideoWriter(tmp_path / 'none.mp4', 10):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ['one.mp4']


def test_broken_frames_are_passed_over_and_counted(video):
    data = bytearray(video.read_bytes())
    start = data.index(b'mdat') + 4
    third = (data.index(b'moov') - start) // 3
    data[start + third : start + 2 * third] = b'\x55' * third
    video.write_bytes(data)
    reader = VideoReader(video)
    whole = len(list(reader))
    assert 0 < whole < 20 and reader.broken == 20 - whole


@pytest.mark.parametrize(
    ('name', 'eleventh', 'end'),
    # A still of 5 s in a recording of a screen; irregular, and a header that says 120 frames/s.
    [('screen.mp4', (1.0, 6.0), 6.9), ('browser.webm', (1.167, 1.201), 1.643)],
)
def test_frames_keep_their_time(tmp_path, name, eleventh, end):
    reader = VideoReader(VIDEOS / name)
    assert (reader.total, reader.broken, reader.timed) == (20, 0, True)
    assert reader.end == pytest.approx(end)
    assert (reader.shown_until(9), reader.shown_until(10)) == pytest.approx(eleventh)
    with VideoWriter(tmp_path / 'out.mp4', reader.fps) as writer:
        for index in range(20):
            # Those of even and of odd numbers look different.
            picture = np.full((16, 16, 3), 200 * (index % 2), np.uint8)
            writer.write(picture, reader.shown_until(index))
    assert writer.dropped == 0
    written = VideoReader(tmp_path / 'out.mp4')
    slot = 1 / reader.fps
    assert written.end == pytest.approx(reader.end, abs=slot)
    shown = np.array([frame.mean() > 100 for frame in written])
    changes = np.flatnonzero(np.diff(shown)) + 1
    np.testing.assert_allclose(changes * slot, reader.times[1:], atol=slot / 2 + 1e-6)


def test_the_first_frames_alone(tmp_path):
    reader = VideoReader(VIDEOS / 'screen.mp4', max_frames=11)
    assert (reader.total, reader.end) == (11, pytest.approx(6.0))
    assert len(list(reader)) == 11


def test_frames_come_closer_than_can_be_written(tmp_path):
    with VideoWriter(tmp_path / 'out.mp4', 10) as writer:
        for until in (0.1, 0.11, 0.2):
            writer.write(np.zeros((16, 16, 3), np.uint8), until)
    assert writer.dropped == 1 and VideoReader(tmp_path / 'out.mp4').total == 2


def test_a_phone_s_video_stands_upright(video):
    data = bytearray(video.read_bytes())
    matrix = data.index(b'tkhd') + 4 + 40
    data[matrix : matrix + 36] = struct.pack('>9i', 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    video.write_bytes(data)
    assert next(iter(VideoReader(video))).shape == (64, 48, 3)


def test_a_video_without_a_picture(video):
    data = bytearray(video.read_bytes())
    start, end = data.index(b'mdat') + 4, data.index(b'moov') - 4
    data[start:end] = b'\x55' * (end - start)
    video.write_bytes(data)
    with pytest.raises(ValueError, match=r'video\.mp4 has no frame that can be decoded'):
        VideoReader(video)


def test_frames_that_change_their_size_fit_into_the_first_one():
    frames = [np.zeros((*size, 3), np.uint8) for size in ((48, 65), (24, 65), (48, 10))]
    size = panel_size(frames[0], 30)
    pictures = [draw_panels(Prediction('', frame), {}, {}, size) for frame in frames]
    assert {picture.shape for picture in pictures} == {(22, 30, 3)}
    assert not pictures[0].any()
    assert pictures[1][0].all() and pictures[2][:, 0].all() and not pictures[2][:, 15].any()


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
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 10) as writer:
        writer.write(frame)
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())
    with VideoWriter(path, 10) as writer:
        writer.write(frame)
    assert next(iter(VideoReader(path))).shape == (32, 44, 3)
    with pytest.raises(ValueError, match='ends in .mp4'):
        VideoWriter(tmp_path / 'video.avi', 10)


def test_names_of_any_kind(video, tmp_path):
    odd = tmp_path / os.fsdecode(b'caf\xe9.mp4')
    shutil.copy(video, odd)
    with pytest.raises(ValueError, match='not UTF-8.*Rename it'):
        VideoReader(odd)
    with pytest.raises(ValueError, match='not UTF-8'), VideoWriter(odd, 10) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    with VideoWriter(tmp_path / ('m' * 251 + '.mp4'), 10) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    assert VideoReader(tmp_path / ('m' * 251 + '.mp4')).total == 1
