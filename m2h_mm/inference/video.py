"""Reading the frames of a video file or a camera, and writing pictures as a video file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

# A decoder that has met a damaged frame goes on with the next whole one.
MAX_BROKEN_IN_A_ROW = 30


class VideoReader:
    """The frames of a video, one after the other; frames that cannot be decoded are passed over and
    counted.

    Args:
        source: a file, or the number of a camera (0 is the first).

    Attributes:
        fps: frames per second, 30 where the source does not say.
        total: number of frames, None where it is not known (a camera).
        broken: frames passed over so far.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no video, or there is no such camera.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = source
        camera = str(source).isdecimal() and not Path(source).is_file()
        if not camera and not Path(source).is_file():
            raise FileNotFoundError(f'There is no video {source}; a camera is given by its number.')
        self._capture = cv2.VideoCapture(int(source) if camera else str(source))
        if not self._capture.isOpened():
            raise ValueError(
                f'There is no camera {source}.'
                if camera
                else f'Video {source} cannot be opened: it is damaged, or of a kind that '
                'OpenCV does not read.'
            )
        self.fps = self._capture.get(cv2.CAP_PROP_FPS) or 30.0
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = count if count > 0 and not camera else None
        self.broken = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """``(H, W, 3)`` uint8 RGB."""
        position = in_a_row = 0
        try:
            while self.total is None or position < self.total:
                whole, frame = self._capture.read()
                position += 1
                if whole:
                    in_a_row = 0
                    yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                    continue
                if self.total is None:
                    return
                self.broken += 1
                in_a_row += 1
                if in_a_row == MAX_BROKEN_IN_A_ROW:
                    # The rest of the file is gone, or never was there: headers promise too much at
                    # times.
                    self.broken += self.total - position
                    return
        finally:
            self._capture.release()


class VideoWriter:
    """Writes pictures of one size as an MP4 file. A context manager; the file appears when it is
    left without an error.

    Args:
        path: of the file, made anew; its name ends in ``.mp4``.
        fps: frames per second.

    Raises:
        ValueError: another ending, no encoder, or a picture of another size than the first.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() != '.mp4':
            raise ValueError(f'Video to write: expected a name that ends in .mp4, got {path}.')
        self.fps = fps
        self._temporary = self.path.with_name(f'.{self.path.stem}.part.mp4')
        self._writer: cv2.VideoWriter | None = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> VideoWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, picture: np.ndarray) -> None:
        """Append ``(H, W, 3)`` uint8 RGB; an odd last row or column, which the format cannot hold,
        is left out.
        """
        height, width = (length // 2 * 2 for length in picture.shape[:2])
        if self._writer is None:
            self._size = (height, width)
            self._writer = cv2.VideoWriter(
                str(self._temporary), cv2.VideoWriter_fourcc(*'mp4v'), self.fps, (width, height)
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
        self._writer.write(
            cv2.cvtColor(np.ascontiguousarray(picture[:height, :width]), cv2.COLOR_RGB2BGR)
        )

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._writer is None:
            return
        self._writer.release()
        if kind is None or kind is KeyboardInterrupt:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)
