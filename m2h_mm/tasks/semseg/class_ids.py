"""How the files of a data set number the classes of semantic segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from m2h_mm.structures import Label

VOID = 255  # in files: a pixel without a class


@dataclass(frozen=True, eq=False)
class ClassIds:
    """From the numbers in a file to the class ids of a label.

    Attributes:
        first: number of the first class, 0 or 1. With 1, the number 0 means no class; 255 always
            does. Default: 0.
        table: ``(256,)`` uint8, from a class id of the file, counted from 0, to that of another
            class space, 255 for a class without counterpart, see :func:`class_table`. Default: the
            classes are those of the file.
    """

    first: int = 0
    table: np.ndarray | None = None

    def apply(self, stored: np.ndarray, num_classes: int, path: str | Path) -> Label:
        """The label of a file.

        Args:
            stored: ``(H, W)``, what the file holds.
            num_classes: number of classes in the file.
            path: the file, for the message.

        Returns:
            Class ids ``(H, W)`` uint8 from 0.

        Raises:
            ValueError: a number that is neither a class nor void.
        """
        largest = num_classes - 1 + self.first
        known = (stored >= 0) & (stored <= largest) | (stored == VOID)
        if not known.all():
            others = np.unique(stored[~known])
            void = f'{VOID}' if self.first == 0 else f'0 and {VOID}'
            raise ValueError(
                f'Segmentation {path} holds the values {others[:8].tolist()}; expected '
                f'{self.first}..{largest} for num_classes={num_classes}, and {void} for void. '
                "Set tasks.semseg.num_classes to the data set's number of classes, or map the "
                'file to them.'
            )
        table = np.full(VOID + 1, VOID, np.uint8)
        classes = np.arange(num_classes)
        table[self.first : largest + 1] = classes if self.table is None else self.table[classes]
        ids = cv2.LUT(stored.astype(np.uint8), table)
        valid = ids != VOID
        return Label(ids * valid, valid)


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
