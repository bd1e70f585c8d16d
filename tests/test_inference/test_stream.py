"""Frames between two threads: which are handed over, which dropped, and every way to an end."""

import threading
import time

import numpy as np
import pytest

from m2h_mm.inference import M2HInferencer
from m2h_mm.inference.stream import FrameQueue, FrameStream, Latencies


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == 'frames']


class Source:
    """Gives numbers; knows when it is asked, and whether it was closed."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count, self.error, self.closed = count, error, False

    def __iter__(self):
        try:
            yield from range(self.count)
            if self.error:
                raise self.error
        finally:
            self.closed = True


def test_a_full_queue_drops_the_oldest_and_counts():
    queue = FrameQueue(size=2)
    for frame in range(5):
        assert queue.put(frame)
    queue.close()
    assert list(queue) == [3, 4]
    assert (queue.received, queue.dropped, len(queue.latencies)) == (5, 3, 2)
    assert not queue.put(5)


def test_of_a_file_no_frame_is_lost_and_few_wait():
    with FrameStream(Source(50), size=3, latest=False) as frames:
        seen = []
        for frame in frames:
            assert frames.received <= frame + 1 + 3 + 1  # this one, those that wait, one in hand
            seen.append(frame)
    assert seen == list(range(50)) and not frames.dropped and not readers()


def test_of_a_camera_the_network_sees_the_latest():
    """The network works on each frame until three more have come."""
    asked = threading.Semaphore(1)
    ready = threading.Semaphore(0)

    def camera():
        for frame in range(13):
            if frame % 4 == 0:
                ready.release()
                asked.acquire()
            yield frame

    seen = []
    with FrameStream(camera()) as frames:
        ready.acquire()
        for frame in frames:
            seen.append(frame)
            asked.release()
            if not ready.acquire(timeout=1 if frame < 12 else 0):
                break
    assert seen == sorted(seen) and seen[-1] == 12
    assert frames.dropped == 13 - len(seen) > 0


def test_the_error_of_a_source_comes_behind_its_frames():
    source = Source(3, OSError('the plug was pulled'))
    seen = []
    with pytest.raises(OSError, match='the plug was pulled'):
        with FrameStream(source, latest=False) as frames:
            for frame in frames:
                seen.append(frame)
    assert seen == [0, 1, 2] and source.closed and not readers()


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize('latest', [True, False])
def test_an_error_of_the_network_or_ctrl_c_closes_the_source(error, latest):
    source = Source(10**9)
    with pytest.raises(error):
        with FrameStream(source, latest=latest) as frames:
            for _ in frames:
                raise error
    assert source.closed and not readers()


def test_a_source_that_hangs_does_not_keep_the_program(monkeypatch):
    monkeypatch.setattr('m2h_mm.inference.stream.PATIENCE', 0.01)
    pulled = threading.Event()

    def camera():
        yield 0
        pulled.wait()

    with FrameStream(camera()) as frames:
        assert next(iter(frames)) == 0
    (thread,) = readers()
    assert thread.daemon
    pulled.set()
    thread.join()


def test_no_more_frames_a_second_than_wanted(monkeypatch):
    """By a clock of the test's own."""
    now = 100.0
    waits = []

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    queue = FrameQueue(max_rate=4)
    monkeypatch.setattr('m2h_mm.inference.stream.time', Clock)

    def wait(seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += seconds
        queue.put('third')

    monkeypatch.setattr(queue._changed, 'wait', wait)
    queue.put('first')
    frames = iter(queue)
    assert next(frames) == 'first'
    now += 0.1
    queue.put('second')
    assert next(frames) == 'third' and waits == [pytest.approx(0.15)] and queue.dropped == 1


def test_settings_that_are_none():
    with pytest.raises(ValueError, match='size: expected 1 or more'):
        FrameQueue(size=0)
    with pytest.raises(ValueError, match='max_rate: expected more than 0'):
        FrameQueue(max_rate=0.0)


def test_latencies_say_their_percentiles():
    latencies = Latencies()
    assert str(latencies) == 'not measured' and np.isnan(latencies.percentiles(50)[0])
    for milliseconds in range(1, 102):
        latencies.add(milliseconds / 1000)
    assert latencies.percentiles(50, 90) == pytest.approx([0.051, 0.091])
    assert str(latencies) == 'median 51.0 ms, 90 % 91.0 ms, 99 % 100.0 ms, longest 101.0 ms'


def test_a_prediction_does_not_wait_for_the_next_frame(tiny):
    asked = 0

    def frames():
        nonlocal asked
        for index in range(3):
            asked += 1
            yield str(index), np.zeros((28, 28, 3), np.uint8)

    inferencer = M2HInferencer(tiny[1], device='cpu')
    for done, prediction in enumerate(inferencer.stream(frames(), 'depth'), 1):
        assert (prediction.name, asked) == (str(done - 1), done)


def test_waiting_frames_are_let_go_when_nobody_takes_them():
    queue = FrameQueue(latest=False)
    queue.put(0)
    put = []
    thread = threading.Thread(target=lambda: put.append(queue.put(1)))
    thread.start()
    time.sleep(0.01)
    queue.stop()
    thread.join()
    assert put == [False] and list(queue) == []
