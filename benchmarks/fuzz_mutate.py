"""Mutations of bytes and of plain data, all drawn from one generator."""

from __future__ import annotations

import io
import json
import math
import re
import reprlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 10**6, 2**31 - 1, 2**31)
NUMBERS += (2**32 - 1, 2**63 - 1, 2**64 - 1)
NAMES = (
    '../0', '../../outside/passwd', '/etc/passwd', '/dev/zero', '/dev/stdin', '/proc/self/mem',
    'a\0b', '', '.', '..', ' ', '~', '-', '\\..\\x', 'C:\\x', 'x' * 300, '\ud800', '\u202e0',
    'nul', '0/0', 'images/0', '0.png', 'http://127.0.0.1:9/x', '${HOME}', '{{x}}', '%s', 'é',
)  # fmt: skip
ODD = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e-320,
    1e308, math.nan, math.inf, -math.inf, 'nan', '1', '[]', [], {}, [None], [[]], {'type': 'x'},
    {'': 0}, {'type': None}, [1, 2], [1.5, -2, 3, 4], 'a' * 10**5, [0] * 1000, b'\x80', 1j,
    (1,), 'None',
)  # fmt: skip


def pick(rng: np.random.Generator, items: Sequence) -> Any:
    return items[int(rng.integers(len(items)))]


# ---- bytes


def _flip(rng, data, others):
    changed = bytearray(data)
    reach = len(changed) if rng.random() < 0.5 else min(len(changed), 64)
    for _ in range(int(rng.integers(1, 9))):
        changed[rng.integers(reach)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(rng, data, others):
    return data[: rng.integers(len(data))]


def _insert(rng, data, others):
    at = int(rng.integers(len(data)))
    return data[:at] + rng.bytes(int(rng.integers(1, 40))) + data[at:]


def _remove(rng, data, others):
    start, end = sorted(rng.integers(len(data), size=2))
    return data[:start] + data[end:]


def _swap(rng, data, others):
    a, b, c = sorted(rng.integers(len(data), size=3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _repeat(rng, data, others):
    start, end = sorted(rng.integers(len(data), size=2))
    return data[:end] + data[start:end] * int(rng.integers(1, 4)) + data[end:]


def _number(rng, data, others):
    form = pick(rng, ('<B', '<H', '>H', '<I', '>I', '<Q', '>Q'))
    size = struct.calcsize(form)
    if len(data) < size:
        return data
    reach = len(data) if rng.random() < 0.4 else min(len(data), 80)
    at = int(rng.integers(max(1, reach - size)))
    return data[:at] + struct.pack(form, pick(rng, NUMBERS) % 256**size) + data[at + size :]


def _digits(rng, data, others):
    """A number that is written in digits, as in the headers of .npy and PPM."""
    places = list(re.finditer(rb'\d+', data[:400]))
    if not places:
        return _number(rng, data, others)
    start, end = pick(rng, places).span()
    return data[:start] + str(pick(rng, (-1, *NUMBERS, 10**40))).encode() + data[end:]


def _splice(rng, data, others):
    other = pick(rng, others)
    return data[: rng.integers(len(data) + 1)] + other[rng.integers(len(other) + 1) :]


def _text(rng, data, others):
    at = int(rng.integers(len(data)))
    return data[:at] + pick(rng, NAMES).encode('utf-8', 'surrogatepass') + data[at:]


def _replace_all(rng, data, others):
    size = int(rng.integers(1, 2000))
    return pick(rng, (b'', bytes(size), b'\xff' * size, rng.bytes(size), pick(rng, others)))


_BYTES = (_flip, _flip, _cut, _insert, _remove, _swap, _repeat, _number, _number, _digits)
_BYTES += (_digits, _splice, _text)


def mutate_bytes(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """A file that is no longer what it was.

    Args:
        rng: the source of all draws.
        data: a good file.
        others: of any kind, to be spliced with it.
    """
    if rng.random() < 0.03:
        return _replace_all(rng, data, others)
    if data[:4] == b'\x89PNG' and rng.random() < 0.6:
        data = mutate_png(rng, data)
        if rng.random() < 0.7:
            return data
    for _ in range(int(rng.integers(1, 4))):
        if data:
            data = pick(rng, _BYTES)(rng, data, others)
    return data


def mutate_png(rng: np.random.Generator, data: bytes) -> bytes:
    """A chunk is changed, and its sum is right again: else no decoder would look at it."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], 'big')
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + length]])
        at += 12 + length
    index = 0 if rng.random() < 0.4 else int(rng.integers(len(chunks)))
    kind, content = chunks[index]
    if kind == b'IDAT' and rng.random() < 0.7:
        pixels = zlib.decompress(content)
        chunks[index][1] = zlib.compress(pick(rng, _BYTES)(rng, pixels, [content]))
    elif content and rng.random() < 0.85:
        chunks[index][1] = pick(rng, (_flip, _number, _number, _cut))(rng, content, [content])
    else:
        change = int(rng.integers(4))
        if change == 0:
            chunks.insert(int(rng.integers(len(chunks) + 1)), list(chunks[index]))
        elif change == 1:
            del chunks[index]
        elif change == 2:
            chunks[index][0] = pick(rng, (b'tRNS', b'PLTE', b'eXIf', b'acTL', b'iCCP', b'abcd'))
        else:
            chunks.insert(1, [b'tRNS', rng.bytes(int(rng.integers(12)))])
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(content)) + kind + content
        + struct.pack('>I', zlib.crc32(kind + content))
        for kind, content in chunks
    )  # fmt: skip


def mutate_zip(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """A member is changed, renamed, left out or added; sums are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [[info.filename, archive.read(info)] for info in archive.infolist()]
    index = int(rng.integers(len(members)))
    if rng.random() < 0.5:  # the pickle decides what the rest is taken for
        index = next((i for i, (name, _) in enumerate(members) if name.endswith('.pkl')), index)
    change = int(rng.integers(6))
    if change <= 2:
        members[index][1] = mutate_bytes(rng, members[index][1], others) or b''
    elif change == 3:
        members[index][0] = members[index][0].rpartition('/')[0] + '/' + pick(rng, NAMES)
    elif change == 4:
        del members[index]
    else:
        members.append([pick(rng, ('archive/', '')) + pick(rng, NAMES), rng.bytes(40)])
    buffer = io.BytesIO()
    with zipfile.ZipFile(
        buffer, 'w', pick(rng, (zipfile.ZIP_STORED, zipfile.ZIP_STORED, 8))
    ) as out:
        for name, content in members:
            if name.replace('\0', '').isascii():
                out.writestr(zipfile.ZipInfo(name or 'x'), content)
    return buffer.getvalue()


# ---- plain data

_DEEPEST = 30


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Every place in nested dicts and lists, by the keys that lead to it."""
    if path:
        yield path
    if len(path) > _DEEPEST:
        return
    items = value.items() if isinstance(value, Mapping) else ()
    if isinstance(value, (list, tuple)):
        items = enumerate(value)
    for key, item in items:
        yield from places(item, (*path, key))


def change_at(value: Any, path: tuple, change: Callable[[Any, Any], Any]) -> Any:
    """A copy in which ``change(container, key)`` has been applied to a copy of the last
    container.
    """
    if len(path) == 1:
        copied = list(value) if isinstance(value, (list, tuple)) else dict(value)
        change(copied, path[0])
        return type(value)(copied) if isinstance(value, tuple) else copied
    copied = list(value) if isinstance(value, (list, tuple)) else dict(value)
    copied[path[0]] = change_at(value[path[0]], path[1:], change)
    return type(value)(copied) if isinstance(value, tuple) else copied


def misspell(rng: np.random.Generator, word: str) -> str:
    """With two letters exchanged, one left out, doubled, or in another case."""
    at = int(rng.integers(max(1, len(word) - 1)))
    ways = (
        word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[: at + 1] + word[at:],
        word.upper(),
        f'{word}s',
    )
    return pick(rng, [way for way in ways if way != word] or ['x'])


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def mutate_tree(
    rng: np.random.Generator, value: Any, odd: Sequence[Any] = (), times: int = 2
) -> tuple[Any, str]:
    """Plain data that is no longer what it was.

    Args:
        rng: the source of all draws.
        value: nested dicts and lists.
        odd: further values to be put in; a function is called for one.
        times: at most so many changes.

    Returns:
        The changed copy, and what was changed, in words.
    """
    said = []
    for _ in range(int(rng.integers(1, times + 1))):
        found = list(places(value))
        if not found:
            return pick(rng, ODD), 'everything'
        path = pick(rng, found)
        if rng.random() < 0.4:  # near the top, where most is read
            path = path[: int(rng.integers(1, len(path) + 1))]
        kind = int(rng.integers(7))
        new = pick(rng, (*ODD, *odd)) if kind < 4 else pick(rng, NAMES)
        if rng.random() < 0.02:
            new = nested(int(pick(rng, (10, 90))))
        new = new(rng) if callable(new) else new

        def change(container: Any, key: Any, kind: int = kind, new: Any = new) -> None:
            if kind <= 4:
                container[key] = new
            elif kind == 5:
                del container[key]
            elif isinstance(container, dict):
                container[misspell(rng, str(key))] = container.pop(key)
            else:
                container.append(container[key])

        value = change_at(value, path, change)
        what = ('put', 'put', 'put', 'put', 'put', 'removed', 'renamed')[kind]
        said.append(f'{".".join(map(str, path))} {what} {reprlib.repr(new)}'[:200])
    return value, '; '.join(said)


def to_json(rng: np.random.Generator, value: Any) -> bytes:
    """As text, by a lenient writer; sometimes in another encoding or with other numbers."""
    text = json.dumps(value, default=str, skipkeys=True)
    if rng.random() < 0.03:
        depth = int(pick(rng, (900, 3000, 100000)))
        text = text.replace('[', '[' * depth, 1).replace(']', ']' * depth, 1)
    if rng.random() < 0.1:
        text = re.sub(r'\d+(\.\d+)?', lambda match: pick(rng, ('1e999', match[0], '-0')), text)
    if rng.random() < 0.05:
        text = text.replace('{', '{"a": 1, "a": 2, ', 1)
    if rng.random() < 0.05:
        text = '[' * int(pick(rng, (10, 2000, 200000))) + text
    encoding = pick(rng, ('utf-8',) * 8 + ('utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32'))
    return text.encode(encoding, 'surrogatepass')
