"""Comparing lengths that an export may not know yet."""

from __future__ import annotations

import torch


def known_equal(length: int, other: int) -> bool:
    """Whether two lengths are equal; False where an export for several sizes does not know them
    yet.

    A plain comparison there would bind the exported program to the size that it is traced with.
    """
    equal = length == other
    if isinstance(equal, torch.SymBool):
        from torch.fx.experimental.symbolic_shapes import (
            statically_known_true,  # slow to import, rarely needed
        )

        return statically_known_true(equal)
    return bool(equal)
