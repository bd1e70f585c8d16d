"""Reading the frames of a video file or a camera, and writing pictures as a video file."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from m2h_mm.inference.video_times import HIGHEST_RATE, USUAL_RATE, constant_rate, repair_times
from m2h_mm.system.files import not_written

# A decoder that has met a damaged frame goes on with the next whole one.
MAX_BROKEN_IN_A_ROW = 30
# The headers of these say how many frames there are; those of others are a guess.
COUNTED = ('.mp4', '.m4v', '.mov', '.avi')


class VideoReader:
    """The frames of a video, one after the other, upright, with the time at which each is shown.

    A file is gone through twice: the time stamps of all frames come first, as its header does not
    say whether they are evenly spaced. Frames that cannot be decoded are passed over and counted.

    Args:
        source: a file, or the number of a camera (0 is the first).
        max_frames: stop after so many. Default: none.

    Attributes:
        is_camera: it is no file.
        fps: frames per second at which all frames of a file can be written at their time, see
            :func:`~m2h_mm.inference.video_times.constant_rate`; of a camera, what it says, or 30.
        total: number of frames, None where it is not known (a camera).
        times: of a file, the time at which each frame appears, seconds from the first one on.
        end: of a file, when the last frame ends.
        timed: of a file, whether its time stamps could be used; if not, frames are evenly spaced.
        broken: frames that the header counts and that are not there: damaged, cut off, or trimmed
            away by an editor, which leaves them in the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, has no frame that can be decoded, or there is no such camera.
    """

    def __init__(self, source: str | Path, max_frames: int | None = None) -> None:
        self.source = source
        self.is_camera = str(source).isdecimal() and not Path(source).is_file()
        if not self.is_camera and not Path(source).is_file():
            raise FileNotFoundError(f'There is no video {source}; a camera is given by its number.')
        self._capture = self._open()
        self.broken = 0
        self.timed = True
        self.total = max_frames
        self._started: float | None = None
        if self.is_camera:
            rate = self._capture.get(cv2.CAP_PROP_FPS)
            self.fps = rate if 1 <= rate <= HIGHEST_RATE else USUAL_RATE
        else:
            self._read_times(max_frames)

    def __iter__(self) -> Iterator[np.ndarray]:
        """``(H, W, 3)`` uint8 RGB."""
        done = in_a_row = 0
        try:
            while self.total is None or done < self.total:
                whole, frame = self._capture.read()
                if whole:
                    in_a_row = 0
                    done += 1
                    self._started = self._started or time.monotonic()
                    yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                    continue
                in_a_row += 1
                if self.is_camera or in_a_row == MAX_BROKEN_IN_A_ROW:
                    return
        finally:
            self._capture.release()

    def shown_until(self, index: int) -> float:
        """When a frame gives way to the next one, seconds from the first frame on; of a camera,
        now.
        """
        if self.is_camera:
            return time.monotonic() - self._started
        return float(self.times[index + 1]) if index + 1 < len(self.times) else self.end

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(int(self.source) if self.is_camera else _opencv(self.source))
        if not capture.isOpened():
            raise ValueError(
                f'There is no camera {self.source}.'
                if self.is_camera
                else f'Video {self.source} cannot be opened: it is damaged, or of a kind that '
                'OpenCV does not read.'
            )
        return capture

    def _read_times(self, max_frames: int | None) -> None:
        rate, count = (
            self._capture.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT)
        )
        stamps, in_a_row = [], 0
        # One more than is wanted, which ends the last.
        while in_a_row < MAX_BROKEN_IN_A_ROW and (max_frames is None or len(stamps) <= max_frames):
            whole = self._capture.grab()
            in_a_row = 0 if whole else in_a_row + 1
            if whole:
                stamps.append(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        self._capture.release()
        if not stamps:
            raise ValueError(f'Video {self.source} has no frame that can be decoded.')
        at_end = in_a_row == MAX_BROKEN_IN_A_ROW
        if at_end and Path(self.source).suffix.lower() in COUNTED:
            self.broken = max(0, int(count) - len(stamps))
        # Of a file that was cut off, the header promises too much.
        known = at_end and not self.broken and rate > 0 and count > 0
        self.times, self.end, self.timed = repair_times(
            stamps, count / rate if known else None, rate
        )
        if max_frames is not None and len(stamps) > max_frames:
            self.times, self.end = self.times[:max_frames], float(self.times[max_frames])
        self.total = len(self.times)
        self.fps = constant_rate(self.times, self.end)
        self._capture = self._open()


def _opencv(path: str | Path) -> str:
    """A path as OpenCV takes it: it crashes at one that is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f'{str(path)!r} is not UTF-8, and OpenCV opens no video of such a name. Rename it.'
        ) from None
    return str(path)


class VideoWriter:
    """Writes pictures of one size as an MP4 file of constant rate. A context manager; the file
    appears when it is left without an error or an interruption.

    Args:
        path: of the file, made anew; its name ends in ``.mp4``.
        fps: frames per second.

    Attributes:
        dropped: pictures that were not written, as the next one came within the same frame.

    Raises:
        ValueError: another ending, no encoder, or a picture of another size than the first.
        OSError: the folder cannot be written to, or the disk is full.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != '.mp4':
            raise ValueError(f'Video to write: expected a name that ends in .mp4, got {path}.')
        self.fps = fps
        self.dropped = 0
        self._frames = 0
        self._temporary = self.path.with_name(f'.{self.path.stem[-40:]}.{os.getpid()}.mp4')
        self._writer: cv2.VideoWriter | None = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> VideoWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch()
        except OSError as error:
            raise not_written(self.path, error) from error
        return self

    def write(self, picture: np.ndarray, until: float | None = None) -> None:
        """Append ``(H, W, 3)`` uint8 RGB; an odd last row or column, which the format cannot hold,
        is left out.

        Args:
            picture: of the size of the first one.
            until: when it gives way to the next one, seconds from the beginning. It is held until
                then. Default: one frame.
        """
        height, width = (length // 2 * 2 for length in picture.shape[:2])
        if self._writer is None:
            self._size = (height, width)
            self._writer = cv2.VideoWriter(
                _opencv(self._temporary), cv2.VideoWriter_fourcc(*'mp4v'), self.fps, (width, height)
            )
            if not self._writer.isOpened():
                raise ValueError(
                    f'{self.path} cannot be written: OpenCV has no encoder for a video of '
                    f'{width}x{height} pixels here.'
                )
        if self._size != (height, width):
            raise ValueError(
                f'{self.path}: the pictures of a video have one size, {self._size}, got '
                f'{height, width}.'
            )
        frame = cv2.cvtColor(np.ascontiguousarray(picture[:height, :width]), cv2.COLOR_RGB2BGR)
        end = self._frames + 1 if until is None else round(until * self.fps)
        self.dropped += end <= self._frames
        while self._frames < end:
            self._writer.write(frame)
            self._frames += 1

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._writer is None:
            self._temporary.unlink()
            return
        self._writer.release()
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        # FFmpeg does not say that a disk is full: then the file lacks frames, or all of them.
        error = kind is None and self._count() != self._frames and not_written(self.path, full)
        if error or kind is not None:
            self._temporary.unlink(missing_ok=True)
        else:
            self._temporary.replace(self.path)
        if error:
            raise error

    def _count(self) -> int:
        """Frames of the file that was written."""
        written = cv2.VideoCapture(str(self._temporary))
        frames = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        return frames
