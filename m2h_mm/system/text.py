"""Text files of any writer."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

_MARKS = (
    (codecs.BOM_UTF8, 'utf-8'),
    (codecs.BOM_UTF16_LE, 'utf-16-le'),
    (codecs.BOM_UTF16_BE, 'utf-16-be'),
)


def read_text(path: str | Path) -> str:
    """What a text file holds: UTF-8 with or without a mark (BOM) at its beginning, or UTF-16.

    Other bytes, such as those of Latin-1, come as Python names files that hold them: where a list
    and the names of files have the same bytes, they are the same text.

    Raises:
        ValueError: half a character of UTF-16.
    """
    data = Path(path).read_bytes()
    mark, encoding = next((item for item in _MARKS if data.startswith(item[0])), (b'', None))
    data = data[len(mark) :]
    encoding = encoding or _guess(data)
    try:
        return data.decode(encoding, 'surrogateescape' if encoding == 'utf-8' else 'strict')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is no text ({error}). Write it as UTF-8.') from error


def read_lines(path: str | Path) -> list[str]:
    """The lines of a text file that hold something, without spaces around them; lines end as on
    Linux, Windows or old Macs.

    Raises:
        ValueError: see :func:`read_text`.
    """
    # Marks are also met in the middle of files that were put together.
    lines = (line.strip().strip('\ufeff').strip() for line in re.split('[\r\n]', read_text(path)))
    return [line for line in lines if line]


def read_json(path: str | Path, expected: str) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: the file.
        expected: what it should be, for the message.

    Raises:
        ValueError: it holds something else, or is damaged.
    """
    try:
        content = json.loads(read_text(path))
        if not isinstance(content, dict):
            raise ValueError(f'it holds a {type(content).__name__}')
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} cannot be read ({error}). Expected {expected}.') from error
    return content


def _guess(data: bytes) -> str:
    """UTF-16 without a mark has a zero byte in every Latin character."""
    for first, encoding in ((1, 'utf-16-le'), (0, 'utf-16-be')):
        if data and 2 * data[first::2].count(0) > len(data[first::2]):
            return encoding
    return 'utf-8'
