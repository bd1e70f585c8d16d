"""The state dict in a checkpoint of a method's authors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from m2h_mm.structures.weights import find_weights


def unwrap_official(
    content: Any, belongs: Callable[[str], object], code: str, expected: str
) -> dict[str, Tensor]:
    """The state dict without what stands around it and before its keys, see
    :func:`~m2h_mm.structures.weights.find_weights`.

    Args:
        content: what the file holds.
        belongs: whether a key is one that only this method has.
        code: the method, for the message.
        expected: how such keys begin, for the message.

    Raises:
        ValueError: no key belongs to the method.
    """
    wanted = f'expected keys that begin with {expected}'
    try:
        weights = find_weights(content, belongs, 'the file')
    except ValueError as error:
        raise ValueError(
            f'Not a checkpoint of the official {code} code, {wanted}: {error}'
        ) from error
    if not any(map(belongs, weights.state)):
        raise ValueError(
            f'Not a checkpoint of the official {code} code: {wanted}, also below others such as '
            f'"model" and behind prefixes such as "module.", found {list(weights.state)[:5]}.'
        )
    return weights.state
