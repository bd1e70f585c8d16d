"""The messages of a bag that is being made, kept on the disk until it is complete."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from m2h_mm.system.files import not_written

COMMIT_EVERY = 1.0
"""Seconds: what a kill may cost."""
_TABLES = """
CREATE TABLE IF NOT EXISTS frames(number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS messages(frame INTEGER, topic TEXT, content BLOB);
CREATE INDEX IF NOT EXISTS by_frame ON messages(frame);
"""


class MapStore:
    """Frames and their messages, in one file, whatever moment the program ends at. A context
    manager.

    Args:
        path: of the file; what is in it stays.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: sqlite3.Connection | None = None
        self._committed = 0.0

    def __enter__(self) -> MapStore:
        self._file = sqlite3.connect(self.path)
        try:
            self._file.executescript(_TABLES)
        except sqlite3.DatabaseError:
            # A power cut has left half of it: begin anew.
            self._file.close()
            self.path.unlink()
            self._file = sqlite3.connect(self.path)
            self._file.executescript(_TABLES)
        self._committed = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.keep()
        finally:
            self._file.close()

    def __len__(self) -> int:
        """Frames that are done."""
        return self._file.execute('SELECT COUNT(*) FROM frames').fetchone()[0]

    def add(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """The next frame, with topic and content of its messages; none if it has failed.

        Whatever goes wrong, there is no part of a frame: then frames of the last second are lost.
        """
        messages = list(messages)  # what makes them may fail

        def add() -> None:
            number = self._file.execute('INSERT INTO frames DEFAULT VALUES').lastrowid
            rows = ((number, topic, content) for topic, content in messages)
            self._file.executemany('INSERT INTO messages VALUES (?, ?, ?)', rows)
            if time.monotonic() - self._committed > COMMIT_EVERY:
                self._file.commit()
                self._committed = time.monotonic()

        try:
            self._do(add)
        except BaseException:
            self._file.rollback()
            raise

    def keep(self) -> None:
        """What was added until now stays, whatever happens."""
        self._do(self._file.commit)

    def messages(self, frame: int) -> Iterator[tuple[str, bytes]]:
        """Topic and content of the messages of a frame, counted from 0."""
        query = 'SELECT topic, content FROM messages WHERE frame = ? ORDER BY rowid'
        yield from self._file.execute(query, (frame + 1,))

    def _do(self, work) -> None:
        try:
            work()
        except sqlite3.OperationalError as error:
            full = 'full' in str(error)
            number = errno.ENOSPC if full else errno.EIO
            raise not_written(self.path, OSError(number, os.strerror(number))) from error
