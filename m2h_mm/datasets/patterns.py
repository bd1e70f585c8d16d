"""Patterns of file names, such as ``rgb/{scene}/{frame}.jpg``, and the files that fit them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from m2h_mm.system.folders import list_files
from m2h_mm.system.paths import as_id

ANY_SUFFIX = '.*'
_PLACE = re.compile(r'\{([^{}]*)\}')


class NamePattern:
    """Where the files of one kind are.

    Args:
        text: a path below the data's folder with ``{name}`` where names differ. One place alone
            may stand for folders too: ``rgb/{id}.jpg`` fits ``rgb/kitchen/0001.jpg``. Where there
            are several, none does. A place that is there twice holds the same both times. ``.*``
            at the end is any suffix that is read.
        key: of the config, for messages.

    Attributes:
        places: the names of its places, in order.

    Raises:
        ValueError: no place, or an empty or odd name of one; a path that leaves the folder.
    """

    def __init__(self, text: str, key: str) -> None:
        if not isinstance(text, str):
            raise ValueError(f"{key}: expected a pattern such as 'rgb/{{id}}.jpg', got {text!r}.")
        names = _PLACE.findall(text)
        rest = _PLACE.sub('', text)
        odd = [name for name in names if not name.isidentifier()]
        if not names or odd or '{' in rest or '}' in rest:
            raise ValueError(
                f'{key}: expected a path with {{id}}, or with other names in braces, where the '
                f"names of the files differ, such as 'rgb/{{id}}.jpg', got {text!r}."
            )
        if os.path.isabs(text) or '..' in Path(text).parts:
            raise ValueError(
                f'{key}: expected a path below data_root, got {text!r}. Set data_root to the '
                'folder above all files.'
            )
        self.text, self.key = text, key
        self.places = tuple(dict.fromkeys(names))
        self._any_suffix = text.endswith(ANY_SUFFIX)
        self._suffix = os.path.splitext(text)[1].lower()
        stem = text.removesuffix(ANY_SUFFIX) if self._any_suffix else os.path.splitext(text)[0]
        self._stem = re.compile(self._expression(stem))
        self._folder = text[: text.index('{')].rpartition('/')[0]

    def _expression(self, stem: str) -> str:
        part = '.+' if len(self.places) == 1 else '[^/]+'
        seen: set[str] = set()
        pieces = []
        for index, piece in enumerate(_PLACE.split(stem)):
            if index % 2 == 0:
                pieces.append(re.escape(as_id(piece)))
            else:
                pieces.append(f'(?P={piece})' if piece in seen else f'(?P<{piece}>{part})')
                seen.add(piece)
        return ''.join(pieces)

    def find(
        self, root: Path, suffixes: Sequence[str], say: Callable[[str], None]
    ) -> dict[tuple[str, ...], Path]:
        """The values of its places, in the order of their names' alphabet, to the file.

        Args:
            root: the data's folder.
            suffixes: of the files that are read, in small letters; of two files of one frame, that
                of the earlier suffix is taken.
            say: told in one line what was left out, if something was.

        Raises:
            ValueError: files with its suffix are not read here.
        """
        if not self._any_suffix and self._suffix not in suffixes:
            raise ValueError(
                f'{self.key}={self.text!r}: expected a file of {", ".join(suffixes)}, or '
                f'{ANY_SUFFIX}.'
            )
        folder = root / self._folder
        if not folder.is_dir():
            return {}
        wanted = suffixes if self._any_suffix else (self._suffix,)
        found: dict[tuple[str, ...], Path] = {}
        others: list[Path] = []
        rank = {suffix: position for position, suffix in enumerate(suffixes)}
        for path in list_files(folder, wanted).files:
            stem = as_id(os.path.splitext(path.relative_to(root).as_posix())[0])
            match = self._stem.fullmatch(stem)
            if match is None:
                others.append(path)
                continue
            values = tuple(match[name] for name in sorted(self.places))
            other = found.setdefault(values, path)
            if other is not path:
                found[values] = min(other, path, key=lambda file: rank[file.suffix.lower()])
                say(f'two files of one frame: {found[values]} is taken of {other} and {path}')
        if others:
            say(f'{len(others)} files do not fit {self.text}, such as {others[0]}')
        return found
