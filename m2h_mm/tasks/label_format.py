"""How the files of a task are to be read, where it can be stated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from m2h_mm.system.spelling import did_you_mean


@dataclass(frozen=True)
class LabelFormat:
    """How the files of a task are to be read.

    A task of which something can be stated has a dataclass that derives from this one, see
    ``tasks/<task>/label_format.py``: its attributes are the keys of ``label_formats.<task>`` of
    :class:`~m2h_mm.datasets.MultiTaskDataset`, its docstring is their reference. A value that makes
    no sense is a ValueError of ``__post_init__`` that begins with the key.
    """

    def stated(self, task: str, settings: Mapping[str, Any]) -> LabelFormat:
        """A copy with some of the keys set.

        Args:
            task: name of the task, for the message.
            settings: key to value.

        Raises:
            ValueError: an unknown key, or a value that makes no sense; it begins with
                ``<task>.<key>``.
        """
        known = [field.name for field in fields(self)]
        for key in settings:
            if key not in known:
                raise ValueError(
                    f'{task}.{key}: there is no such key; '
                    + (f'known are {known}.' if known else f'nothing can be stated of {task!r}.')
                    + did_you_mean(key, known)
                )
        try:
            return replace(self, **settings)
        except ValueError as error:
            raise ValueError(f'{task}.{error}') from None
