"""Class ids of the model as the ids of another label space, such as one of Hydra's."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from m2h_mm.system.spelling import did_you_mean

OTHERS = 'others'
_EXAMPLE = 'Expected lines such as "wall: 1", and "others: 0" for all that have none.'


def read_label_space(path: str | Path, classes: Sequence[str]) -> np.ndarray:
    """``(256,)`` uint8: the id of another label space for each class id.

    The file is YAML of one of three forms. ::

        wall: 1        # class, by its name or its id: id of the label space
        sofa: 14
        others: 0      # every class that is not named

    Without ``others``, every class must be named. The other forms are those of Mono-Hydra's nodes
    and of Hydra, in which ids that are not listed stay as they are::

        class_info:
          1: {labels: [0]}       # id of the label space: class ids
          2: {labels: [1, 19]}

    ::

        - {sub_id: 0, super_id: 1}

    Args:
        path: of the file.
        classes: names of the model's classes; empty if they are not known.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: what it holds is none of the two, names a class that the model does not have, or
            lacks one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no label space {path}.')
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'Label space {path} is no YAML: {error}') from error
    where = f'Label space {path}'
    if isinstance(content, list) and content:
        return _from_pairs(where, _pairs_of_hydra(where, content))
    if not isinstance(content, dict) or not content:
        raise ValueError(f'{where}: {_EXAMPLE} Got {str(content)[:60]!r}.')
    if 'class_info' in content:
        return _from_pairs(where, _pairs_of_mono_hydra(where, content['class_info']))
    return _from_names(path, content, classes)


def read_palette(path: str | Path) -> np.ndarray:
    """``(256, 3)`` uint8 RGB by id, from a CSV file with the columns red, green, blue and id, as
    Hydra and Mono-Hydra have them; ids that it does not list are black.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, or a value is no number from 0 to 255.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no file of colours {path}.')
    palette = np.zeros((256, 3), np.uint8)
    with open(path, newline='') as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        missing = {'red', 'green', 'blue', 'id'} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f'Colours {path}: the columns {sorted(missing)} are missing.')
        for row in rows:
            where = f'Colours {path}, line {rows.line_num}'
            palette[_id(where, row['id'])] = [
                _id(where, row[name]) for name in ('red', 'green', 'blue')
            ]
    return palette


def _from_pairs(where: str, pairs: Iterable[tuple[object, object]]) -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    listed: dict[int, int] = {}
    for source, target in pairs:
        source, target = _id(where, source), _id(where, target)
        if listed.setdefault(source, target) != target:
            raise ValueError(f'{where}: id {source} becomes both {listed[source]} and {target}.')
        table[source] = target
    return table


def _pairs_of_hydra(where: str, content: list) -> Iterator[tuple[object, object]]:
    for entry in content:
        if not isinstance(entry, Mapping) or set(entry) != {'sub_id', 'super_id'}:
            raise ValueError(f'{where}: expected sub_id and super_id, got {str(entry)[:60]!r}.')
        yield entry['sub_id'], entry['super_id']


def _pairs_of_mono_hydra(where: str, entries: Any) -> Iterator[tuple[object, object]]:
    for target, entry in entries.items() if isinstance(entries, Mapping) else [('', entries)]:
        labels = entry.get('labels') if isinstance(entry, Mapping) else None
        if not isinstance(labels, list):
            raise ValueError(
                f'{where}: class_info/{target}: expected "labels: [ids]", got {str(entry)[:60]!r}.'
            )
        for label in labels:
            yield label, target


def _from_names(path: Path, content: Mapping, classes: Sequence[str]) -> np.ndarray:
    others = content.get(OTHERS)
    table = np.full(256, 255 if others is None else _id(f'Label space {path}: {OTHERS}', others))
    ids = {name: id for id, name in enumerate(classes)}
    named = set()
    for name, target in content.items():
        if name == OTHERS:
            continue
        where = f'Label space {path}: {name}'
        if isinstance(name, str) and name in ids:
            source = ids[name]
        elif isinstance(name, int) and 0 <= name < (len(classes) or 256):
            source = name
        else:
            raise ValueError(
                f'{where}: the model has no such class. It has '
                f'{", ".join(map(str, classes)) or "classes without names: use their ids"}.'
                + did_you_mean(name, classes)
            )
        if source in named:
            raise ValueError(f'{where}: the class is named twice, by its name and its id.')
        named.add(source)
        table[source] = _id(where, target)
    missing = [name for id, name in enumerate(classes) if id not in named]
    if others is None and (missing or not classes):
        raise ValueError(
            f'Label space {path}: it lacks {", ".join(missing) or "classes"}. {_EXAMPLE}'
        )
    return table.astype(np.uint8)


def _id(where: str, value: object) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, (bool, float)) or not 0 <= number <= 255:
        raise ValueError(f'{where}: expected a whole number from 0 to 255, got {value!r}.')
    return number
