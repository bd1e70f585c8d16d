"""Frames on their way from a source that does not wait to a network that takes its time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np

Frame = TypeVar('Frame')
MOST_LATENCIES = 10_000
"""Of an endless stream, the last ones count: some minutes."""
PATIENCE = 2.0
"""Seconds for a source to give its next frame, behind which it is left to itself. A camera that was
pulled out may never give one.
"""


class Latencies:
    """How long each frame took, from its arrival until its maps were used; of the last 10,000."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=MOST_LATENCIES)

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def __len__(self) -> int:
        return len(self._seconds)

    def percentiles(self, *shares: float) -> list[float]:
        """Seconds within which so many percent of the frames were done; NaN where there is none."""
        seconds = list(self._seconds)
        return np.percentile(seconds, shares).tolist() if seconds else [float('nan')] * len(shares)

    def __str__(self) -> str:
        if not self._seconds:
            return 'not measured'
        shares = dict(zip(('median', '90 %', '99 %'), self.percentiles(50, 90, 99), strict=True))
        shares['longest'] = max(self._seconds)
        return ', '.join(f'{name} {1000 * seconds:.1f} ms' for name, seconds in shares.items())


class FrameQueue(Generic[Frame]):
    """Hands frames over from one thread to another, and never holds more than a few.

    Iterating over it gives the frames, until it is closed. A frame counts as done when the next one
    is asked for.

    Args:
        size: frames that wait at most. Default: 1.
        latest: what happens to a frame that comes when ``size`` are waiting. True: the oldest one
            is dropped, so that the network sees what is now: for cameras and robots. False:
            :meth:`put` waits, and no frame is lost: for files. Default: True.
        max_rate: frames per second that are handed over at most; what comes meanwhile is treated as
            ``latest`` says. Default: any.

    Attributes:
        received: frames that were put in.
        dropped: those that were never handed over, as a later one came.
        latencies: seconds from :meth:`put` until a frame was done.

    Raises:
        ValueError: a size or a rate that is not positive.
    """

    def __init__(self, size: int = 1, latest: bool = True, max_rate: float | None = None) -> None:
        if size < 1:
            raise ValueError(f'size: expected 1 or more frames that wait, got {size}.')
        if max_rate is not None and not max_rate > 0:
            raise ValueError(f'max_rate: expected more than 0 frames per second, got {max_rate}.')
        self.size = size
        self.latest = latest
        self.received = self.dropped = 0
        self.latencies = Latencies()
        self._pause = 1 / max_rate if max_rate else 0.0
        self._next_at = 0.0
        self._frames: deque[tuple[float, Frame]] = deque()
        self._changed = threading.Condition()
        self._closed = self._stopped = False
        self._error: BaseException | None = None

    def put(self, frame: Frame) -> bool:
        """Add a frame.

        Returns:
            False once nobody takes frames any more.
        """
        with self._changed:
            while not (self.latest or self._stopped) and len(self._frames) == self.size:
                self._changed.wait()
            if self._stopped or self._closed:
                return False
            self.received += 1
            if len(self._frames) == self.size:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append((time.monotonic(), frame))
            self._changed.notify_all()
            return True

    def close(self, error: BaseException | None = None) -> None:
        """No more frames will come. Those that wait are still handed over.

        Args:
            error: why, if that is no good end. It is raised where the frames are taken, behind the
                last one.
        """
        with self._changed:
            self._closed, self._error = True, self._error or error
            self._changed.notify_all()

    def stop(self) -> None:
        """No more frames are wanted. Those that wait are let go."""
        with self._changed:
            self._stopped = True
            self._frames.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Frame]:
        while (taken := self._take()) is not None:
            arrived, frame = taken
            yield frame
            self.latencies.add(time.monotonic() - arrived)

    def _take(self) -> tuple[float, Frame] | None:
        with self._changed:
            while not self._stopped and (pause := self._next_at - time.monotonic()) > 0:
                self._changed.wait(pause)
            while not (self._frames or self._closed or self._stopped):
                self._changed.wait()
            if self._frames:
                self._next_at = time.monotonic() + self._pause
                taken = self._frames.popleft()
                self._changed.notify_all()
                return taken
            if self._error is not None and not self._stopped:
                raise self._error
            return None


class FrameStream(FrameQueue[Frame]):
    """The frames of a source, read in a thread of their own while the network works.

    ::

        with FrameStream(VideoReader(0)) as frames:
            for frame in frames:
                ...
        print(frames.dropped, frames.latencies)

    However the block is left, the source is closed: at its end, by an error of the source, which is
    raised in the block, by one in the block, or by Ctrl-C.

    Args:
        source: gives the frames. It is iterated over, and closed, in the other thread.
        size, latest, max_rate: see :class:`FrameQueue`.
    """

    def __init__(
        self,
        source: Iterable[Frame],
        size: int = 1,
        latest: bool = True,
        max_rate: float | None = None,
    ) -> None:
        super().__init__(size, latest, max_rate)
        self._source = source
        # A source that hangs does not keep the program from ending.
        self._thread = threading.Thread(target=self._read, name='frames', daemon=True)

    def __enter__(self) -> FrameStream[Frame]:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join(PATIENCE)

    def _read(self) -> None:
        error = None
        try:
            frames = iter(self._source)
            try:
                for frame in frames:
                    if not self.put(frame):
                        break
            finally:
                close = getattr(frames, 'close', None)
                if close is not None:
                    close()
        except BaseException as raised:  # whatever it is, it belongs to the thread that takes
            error = raised
        self.close(error)
