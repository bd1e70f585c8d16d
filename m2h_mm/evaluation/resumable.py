"""Scoring that goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import io
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.evaluator import Evaluator

from m2h_mm.structures import MultiTaskDataSample
from m2h_mm.system import write_atomically
from m2h_mm.tasks.pooled_metric import PooledMetric

LOADERS = 2
DAMAGED = (UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError)
AHEAD = 4  # frames that are loaded while one is scored


def is_state(path: str | Path) -> bool:
    """Whether a file was written by :class:`ResumableScoring`, and is whole."""
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except (OSError, *DAMAGED):
        return False
    return isinstance(state, dict) and {'digest', 'done', 'metrics'} <= state.keys()


class ResumableScoring:
    """Feeds an evaluator frame by frame and keeps what it knows in a file.

    The file holds the metrics' sums, the number of frames done and a digest of what they are sums
    of: the settings, and the files of the frames done. A run with the same digest goes on; any
    other starts afresh. A file that was repaired after the run had stopped at it was not done yet,
    and so spoils nothing. The sums are added up in the same order as without an interruption: the
    result is the same to the last bit.

    Args:
        evaluator: its metrics are all :class:`PooledMetric`.
        size: number of frames.
        load: the frame at a position, with labels and predictions. Called in threads.
        stamp: what identifies the files of the frame at a position: their names, sizes, times.
        settings: all that the result depends on beside the files.
        state_path: the file.
        save_seconds: time between two saves. An exception, Ctrl-C included, saves too.

    Attributes:
        done: frames that were scored, by this run or one before.
        restarted: there was a file, but of other settings or files, or damaged.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        size: int,
        load: Callable[[int], MultiTaskDataSample],
        stamp: Callable[[int], str],
        settings: str,
        state_path: str | Path,
        save_seconds: float = 20.0,
    ) -> None:
        self.evaluator = evaluator
        self.size = size
        self.load = load
        self.stamp = stamp
        self.state_path = Path(state_path)
        self.save_seconds = save_seconds
        self.done = 0
        self.restarted = False
        self._settings = settings.encode()
        self._digest = hashlib.sha256(self._settings)
        self._resume()
        self._snapshot = self._state()

    def run(self, advance: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Score what is left.

        Args:
            advance: called after every frame.

        Returns:
            The evaluator's metrics.
        """
        saved = time.monotonic()
        try:
            with closing(self._samples()) as samples:
                for sample in samples:
                    self.evaluator.process(data_samples=[sample])
                    self._digest.update(self.stamp(self.done).encode())
                    self.done += 1
                    # Sums are replaced, never changed in place: this is a picture of all metrics
                    # after a whole frame.
                    self._snapshot = self._state()
                    advance()
                    if time.monotonic() - saved > self.save_seconds:
                        self._save()
                        saved = time.monotonic()
            return self.evaluator.evaluate(self.size)
        except BaseException:
            self._save()
            raise

    def finish(self) -> None:
        """Remove the file; to be called when the result is safe."""
        self.state_path.unlink(missing_ok=True)

    def _samples(self) -> Iterator[MultiTaskDataSample]:
        """The frames that are left, in order, loaded ahead."""
        pool = ThreadPoolExecutor(LOADERS)
        try:
            ahead: deque = deque()
            for position in range(self.done, self.size):
                ahead.append(pool.submit(self.load, position))
                if len(ahead) > AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _state(self) -> dict:
        return dict(
            digest=self._digest.hexdigest(),
            done=self.done,
            metrics=[metric.state() for metric in self.evaluator.metrics],
        )

    def _save(self) -> None:
        if not self._snapshot['done']:
            return
        content = io.BytesIO()
        torch.save(self._snapshot, content)
        try:
            write_atomically(self.state_path, content.getvalue())
        except OSError as error:
            # The scores are worth more, and so is the error that may have ended them.
            warnings.warn(f'{error.strerror} Until then an interruption loses them.', stacklevel=2)

    def _resume(self) -> None:
        if not self.state_path.is_file():
            return
        try:
            state = torch.load(self.state_path, map_location='cpu', weights_only=True)
            done, metrics = state['done'], self.evaluator.metrics
            fits = (
                type(done) is int
                and 0 < done <= self.size
                and len(state['metrics']) == len(metrics)
                and all(map(_can_go_on, metrics, state['metrics'], [done] * len(metrics)))
            )
            digest = hashlib.sha256(self._settings)
            for position in range(done if fits else 0):
                digest.update(self.stamp(position).encode())
            fits = fits and state['digest'] == digest.hexdigest()
        except Exception:  # of a file that something else has written, nearly anything
            fits = False
        if not fits:
            self.restarted = True
            return
        for metric, sums in zip(self.evaluator.metrics, state['metrics'], strict=True):
            metric.load_state(sums)
        self.done, self._digest = done, digest


def _can_go_on(metric: PooledMetric, state: Any, done: int) -> bool:
    """Whether a metric's own sums after ``done`` frames have this form."""
    shapes = {name: value.shape for name, value in metric.statistics_of_nothing().items()}
    return state['seen'] == done and all(
        sums is None or {name: value.shape for name, value in sums.items()} == shapes
        for sums in (state['sum'], state['last'])
    )
