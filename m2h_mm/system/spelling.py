"""The known name that a misspelt one is nearest to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A sentence for the end of a message, with a space before it; empty if no name is near."""
    close = difflib.get_close_matches(str(name), sorted(set(known)), n=1)
    return f' Did you mean {close[0]!r}?' if close else ''
