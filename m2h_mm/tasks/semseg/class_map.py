"""From the classes of one data set to those of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .label_format import VOID


def class_table(
    class_map: Mapping[str | int, str], own: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """``(256,)`` uint8, from a class id of one data set to that of another, 255 for classes that
    are not mapped.

    Args:
        class_map: name or id of an own class to the name of its class there.
        own: names of the own classes; may be empty, then ids are used.
        classes: names of the classes there.

    Raises:
        ValueError: a name that is not among them.
    """
    table = np.full(VOID + 1, VOID, np.uint8)
    for source, target in class_map.items():
        is_id = isinstance(source, int)
        known = 0 <= source < (len(own) or VOID) if is_id else source in own
        if not known or target not in classes:
            raise ValueError(
                f'class_map: {source!r} to {target!r}; expected an own class, of {list(own)} or '
                f'an id, to one of class_space, {list(classes)}.'
            )
        table[source if is_id else list(own).index(source)] = list(classes).index(target)
    return table
